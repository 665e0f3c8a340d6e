//! Network namespaces as a topology: what tests with real packets and real clients run in.
//!
//! Guarantees: names are this process's own (`slt-<pid>-<name>`); everything is taken away on drop,
//! also in a panic, and what a killed process left is taken away by the next one; a panic prints
//! the state of every namespace first. Does not hide a lack of rights: without root
//! [`Topology::new`] says so. The kernel needs veth, bridge and namespaces, no VLAN.

mod command;
mod enter;
mod error;
mod namespace;
mod nft;
mod process;
mod shell;
mod stale;
mod topology;

pub use command::{NsCommand, Output};
pub use error::NetnsError;
pub use namespace::Namespace;
pub use nft::nft;
pub use process::Process;
pub use stale::sweep;
pub use topology::{Topology, VethEnd};
