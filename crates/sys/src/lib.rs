//! The kernel boundary: netlink, nft, sysctl, files and processes; the only crate with `unsafe`.
//!
//! Guarantees: every effect on the machine goes through here, narrow and typed; each has a backend that fakes it and
//! one that fails on command. Not here: any decision.

pub mod clock;
pub mod conntrack;
pub mod files;
pub mod filesystem;
pub mod hand_over;
pub mod kernel;
pub mod link_udp;
pub mod marked_udp;
pub mod model;
pub mod mounts;
pub mod neighbour;
mod netfilter;
pub mod nft;
pub mod packet;
pub mod ppp;
pub mod process;
pub mod splice;
pub mod stdout;
pub mod tap;
pub mod udp;
pub mod udp_batch;

pub(crate) use sluice_rules::pairs;
