//! The kernel boundary: netlink, nft, sysctl, files and processes; the only crate with `unsafe`.
//!
//! Guarantees: every effect on the machine goes through here, narrow and typed; each has a backend that fakes it and
//! one that fails on command. Not here: any decision.

pub mod files;
pub mod kernel;
pub mod model;
pub mod nft;
pub mod packet;
mod pairs;
pub mod process;
pub mod tap;
pub mod udp_batch;
