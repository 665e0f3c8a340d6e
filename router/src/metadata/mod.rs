//! The metadata service: what a guest is told about itself over HTTP.
//!
//! Guarantees: a guest learns about itself alone, known by link, address and MAC address ([`crate::web`]); paths are looked
//! up in a tree that exists in memory only, so no path leads anywhere else; a change of one guest is one swap, nothing
//! restarts. Two trees are served at once: that of CloudStack's routers (`/latest/KEY`, `/latest/meta-data/KEY`) and that of
//! Amazon's EC2 with its session tokens, since clients of both are in the field. docs/metadata.md tells users.

pub mod desk;
mod guest;
mod path;
pub mod process;
mod site;
mod slice;
mod token;
mod tree;

pub use site::MetadataSite;
pub use slice::{MetadataGuest, MetadataNetwork, MetadataSlice, SERVICE_ADDRESS, slice};
