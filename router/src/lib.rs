//! The virtual router: what a guest network needs from its gateway, one module per service.

mod appliance;
pub mod compile;
pub mod desk;
pub mod dhcp;
pub mod dns;
mod slice_file;

pub use appliance::{DHCP, DNS, Router};
pub use slice_file::SliceArgs;
