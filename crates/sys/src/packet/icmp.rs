//! A raw ICMP or ICMPv6 socket: echo requests with a chosen hop limit, and what comes back about them.
//!
//! Guarantees: never blocks; the kernel computes the checksum of ICMPv6. Not here: building and reading messages.
//! Why raw and not the kernel's ping sockets: those do not hand over "time exceeded" without a second, harder interface.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{RecvFlags, recvfrom};
use sluice_api::types::LinkName;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{device_index, watched};

/// A raw socket for one peer's family.
#[derive(Debug)]
pub struct IcmpSocket {
    peer: SocketAddr,
    socket: AsyncFd<Socket>,
}

impl IcmpSocket {
    /// Opens a socket to ask `peer`, leaving by `device` when one is named. Needs `CAP_NET_RAW`.
    ///
    /// Errors: no right; the device does not exist (`NotFound`); no IPv6 in this kernel.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn open(peer: IpAddr, device: Option<&LinkName>) -> io::Result<Self> {
        let protocol = if peer.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
        let peer = with_scope(peer, device)?;
        let kind = Type::RAW.nonblocking();
        let socket = Socket::new(Domain::for_address(peer), kind, Some(protocol))?;
        if let Some(device) = device {
            socket.bind_device(Some(device.as_str().as_bytes()))?;
        }
        Ok(Self { peer, socket: watched(socket)? })
    }

    /// The same, which sends with `source`, an address of this machine, so that rules about sources lead the way.
    ///
    /// Errors: as with [`Self::open`]; no link has the address (`AddrNotAvailable`).
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn open_from(source: IpAddr, peer: IpAddr, device: &LinkName) -> io::Result<Self> {
        let socket = Self::open(peer, Some(device))?;
        socket.socket.get_ref().bind(&SocketAddr::new(source, 0).into())?;
        Ok(socket)
    }

    /// Sends one message with this hop limit.
    pub fn send(&self, message: &[u8], hops: u8) -> io::Result<()> {
        let socket = self.socket.get_ref();
        if self.peer.is_ipv4() {
            socket.set_ttl_v4(hops.into())?;
        } else {
            socket.set_unicast_hops_v6(hops.into())?;
        }
        socket.send_to(message, &self.peer.into()).map(drop)
    }

    /// Waits for a packet and answers its length and sender. With IPv4 it starts with its IP header, with IPv6 with the
    /// ICMPv6 message. Cancel safe.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, IpAddr)> {
        let taken =
            self.socket.async_io(Interest::READABLE, |socket| receive_message(socket, buffer));
        taken.await
    }

    /// The same socket for another process.
    ///
    /// Errors: no descriptor is left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.get_ref().as_fd().try_clone_to_owned()
    }
}

/// Takes a packet from such a socket, one that was handed over included: its length and sender. Never waits.
///
/// Errors: there is none (`WouldBlock`); the kernel's.
pub fn receive_message(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, IpAddr)> {
    loop {
        let (length, _, from) = recvfrom(&socket, &mut *buffer, RecvFlags::DONTWAIT)?;
        if let Some(from) = from.and_then(|from| SocketAddr::try_from(from).ok()) {
            return Ok((length, from.ip()));
        }
    }
}

/// A link-local IPv6 address means nothing without its link.
fn with_scope(peer: IpAddr, device: Option<&LinkName>) -> io::Result<SocketAddr> {
    let scope = match device {
        None => 0,
        Some(device) => device_index(device).ok_or(io::ErrorKind::NotFound)?,
    };
    Ok(match peer {
        IpAddr::V4(address) => SocketAddrV4::new(address, 0).into(),
        IpAddr::V6(address) => {
            let scope = if address.is_unicast_link_local() { scope } else { 0 };
            SocketAddrV6::new(address, 0, 0, scope).into()
        }
    })
}
