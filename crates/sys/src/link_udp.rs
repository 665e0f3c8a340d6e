//! A UDP socket on one link alone.
//!
//! Guarantees: what comes in by other links is not heard, and what is sent leaves by this one. Ports below 1024 need
//! `CAP_NET_BIND_SERVICE`.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket as Blocking};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Listens on `link` at any address of it, broadcasts included. Others may listen at the same port of other links.
pub fn listen(link: &str, port: u16) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    // before the address, which would clash with those of other links otherwise
    socket.bind_device(Some(link.as_bytes()))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    UdpSocket::from_std(Blocking::from(socket))
}
