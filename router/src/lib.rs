//! The virtual router: what a guest network needs from its gateway, one module per service.

mod appliance;
mod budget;
pub mod compile;
pub mod desk;
pub mod dhcp;
pub mod dns;
mod endpoint;
pub mod explain;
pub mod lb;
pub mod metadata;
pub mod password;
mod per_link;
pub mod ra;
mod slice_file;
pub mod uplinks;
pub mod vpn;
mod web;

pub use appliance::{DHCP, DNS, LB, METADATA, PASSWORD, RA, Router, USERS};
pub use slice_file::SliceArgs;
