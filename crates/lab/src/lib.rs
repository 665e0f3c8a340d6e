//! A laboratory for networks of machines: virtual wires, QEMU machines and network namespaces.
//!
//! Guarantees: needs no rights unless a namespace is asked for; every wait has a bound; what a lab
//! started ends with it. Does not: prove anything about hardware, or about speed, since machines
//! usually run under emulation.

pub mod cli;
pub mod daemon;
mod lab;
pub mod netns;
pub mod qemu;
mod spawner;
pub mod spec;
mod wait;
pub mod wire;

pub use cli::LabCommand;
pub use lab::{Host, Lab, LabBuilder, LabError, LabStatus};
pub use wait::{TimedOut, Wait};
