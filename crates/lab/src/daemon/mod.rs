//! A lab that outlives the command that started it: one background process a lab.
//!
//! Guarantees: the process owns the wires, the machines and the namespaces, and they end with it,
//! however it ends; a second `up` of the same name is refused while it runs; what a killed one left
//! (files, namespaces) is cleaned by the next `up` or `down`. Its folder is for its user alone.

mod client;
mod error;
mod folder;
mod process;
mod protocol;
mod server;

pub use client::Client;
pub use error::DaemonError;
pub use folder::LabFolder;
pub use process::run;
pub use protocol::{Power, Reply, Request};

pub(crate) use folder::root;
pub(crate) use process::SUBCOMMAND;
