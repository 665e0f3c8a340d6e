//! PPP (RFC 1661) as the server's end: LCP, PAP (RFC 1334), CHAP with MD5 (RFC 1994), MS-CHAPv2 (RFC 2759), IPCP (RFC 1332)
//! with name servers (RFC 1877).
//!
//! Guarantees: frames and time in, actions out; no input panics; a link that is not up in time, or whose peer is silent,
//! ends by itself. Protocols that are not spoken (CCP, IPv6CP and others) get Protocol-Reject at once and hold up nothing.
//! Not here: compression and encryption (IPsec encrypts), PPP over lines (no escaping, no checksum: L2TP carries frames).

mod authenticate;
mod automaton;
mod chap;
mod ipcp;
mod lcp;
mod link;
mod mschap;
mod packet;

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

pub use link::{Link, Opened, Output, Settings};
pub use packet::decode_frame;

#[cfg(test)]
pub(super) mod tests;

/// What is in a frame (assigned numbers of PPP).
pub mod protocol {
    /// An IPv4 packet.
    pub const IPV4: u16 = 0x0021;
    /// IPCP.
    pub const IPCP: u16 = 0x8021;
    /// LCP.
    pub const LCP: u16 = 0xc021;
    /// PAP.
    pub const PAP: u16 = 0xc023;
    /// CHAP.
    pub const CHAP: u16 = 0xc223;
}

/// How a peer proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Challenge and response with NT hashes, mutual (RFC 2759).
    MsChapV2,
    /// Challenge and response with MD5 (RFC 1994).
    ChapMd5,
    /// The password in clear, which IPsec hides from all but those who have the pre-shared key (RFC 1334).
    Pap,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MsChapV2 => "MS-CHAPv2",
            Self::ChapMd5 => "CHAP",
            Self::Pap => "PAP",
        })
    }
}

/// What the link asks the outside, at once and without waiting.
pub trait Desk {
    /// The password of `user`; `None` for one that is not known.
    fn password(&self, user: &str) -> Option<&str>;

    /// An address for `user`, who is authenticated; `None` when none is free. Asked once for each link.
    fn lease(&mut self, user: &str) -> Option<Ipv4Addr>;
}

/// Time between two of the same request (RFC 1661 4.6, "Restart Timer").
const RESTART: Duration = Duration::from_secs(3);
