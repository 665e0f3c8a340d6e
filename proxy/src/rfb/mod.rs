//! RFB, the protocol of VNC (RFC 6143), as far as a proxy needs it; bytes in, bytes out, no sockets.
//!
//! Guarantees: nothing here waits or panics on input, and no length that a peer sends makes it hold more than its bound.
//! Not here: the picture. What a guest's screen sends after the handshake is passed on unread; of what a browser sends,
//! every message is known by type and length, so that it can be left out.

mod browser;
mod client;
mod handshake;
mod init;
mod security;
mod vnc_auth;

pub use browser::{BrowserError, BrowserHandshake};
pub use client::{ClientError, ClientStream, Rule, Seen};
pub use handshake::{Handshake, HandshakeError, Want};
pub use init::ServerInit;
pub use security::{Rules, Security, Unencrypted};

/// Length of a protocol version, `RFB 003.008` and a line feed (RFC 6143 7.1.1).
pub(crate) const VERSION_LENGTH: usize = 12;

#[cfg(test)]
mod tests;
