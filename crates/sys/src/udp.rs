//! What the standard library's UDP sockets do not offer.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};

/// From now on a connected `socket` hears that its peer's host is not there, and not only that its port is shut
/// (IP_RECVERR of ip(7)): the next call fails with it.
pub fn hear_refusals(socket: &impl AsFd, v4: bool) -> io::Result<()> {
    let done = if v4 {
        setsockopt(socket, Ipv4RecvErr, &true)
    } else {
        setsockopt(socket, Ipv6RecvErr, &true)
    };
    Ok(done?)
}
