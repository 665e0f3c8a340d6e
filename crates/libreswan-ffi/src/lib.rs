//! Everything that touches libreswan: connection and secrets files, the programs behind the documented `ipsec` commands, what
//! they print, the events of the updown program.
//!
//! Guarantees: no shell runs; nothing that is written into a file can mean anything but itself, because it is checked or
//! written as hexadecimal digits; keys go into files of mode 0600 below a folder that the caller keeps in RAM, never onto a
//! command line or into a log.
//! Not here: libreswan's C interface. No library of it is packaged, and pluto's socket speaks a C structure that changes with
//! every release; the programs that come with each release speak it, and their words, exit codes and files are documented
//! (ipsec.conf(5), ipsec.secrets(5), ipsec_whack(8), ipsec_addconn(8)).

pub mod conf;
mod daemon;
mod event;
mod files;
mod name;
pub mod secrets;
mod status;
mod tools;
mod words;

pub use conf::Conn;
pub use daemon::{Pluto, Programs};
pub use event::{Event, Verb};
pub use files::Files;
pub use name::{InvalidName, Name, Peer};
pub use secrets::Psk;
pub use status::{Made, Traffic, parse_made, parse_states, parse_traffic};
pub use tools::{Output, ToolError, Tools};
pub use words::{Meaning, meaning};
