//! Router advertisements (RFC 4861): guests learn the router, the network's prefix and its MTU, and give themselves addresses
//! (SLAAC, RFC 4862).
//!
//! Guarantees: `codec` is pure and takes any bytes; what is not valid by RFC 4861 6.1.1 is not answered; a link is answered
//! from its own network alone; advertisements to all are no more often than the RFC allows, whoever asks how often. Not
//! here: name servers and domains in advertisements, which guests learn by DHCP.

pub mod codec;
mod link;
pub mod process;
mod schedule;
mod slice;

pub use slice::{RaNetwork, RaSlice, slice};
