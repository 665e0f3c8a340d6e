//! The virtual router: what a guest network needs from its gateway, one module per service.

pub mod compile;
pub mod dhcp;
pub mod dns;
