//! Version 1 of the router configuration.

mod dns;
mod link;
mod network;
mod route;
mod router;

pub use dns::DnsConfig;
pub use link::{Attachment, Link, LinkRole};
pub use network::{ClasslessRoute, DhcpConfig, EgressPolicy, Guest, GuestNetwork, SourceNat};
pub use route::Route;
pub use router::{ConfigVersion, Control, RouterConfig};
