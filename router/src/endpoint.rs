//! The sockets that guests are answered on.
//!
//! Guarantees: each socket is tied to one address of the router and to the link of its network, so the kernel itself
//! keeps what comes from elsewhere out; an address that is not there yet is no error (IP_FREEBIND), a link that is not
//! there yet is one that a retry cures. Needs CAP_NET_BIND_SERVICE for ports below 1024 and nothing else.

use std::io;
use std::net::{IpAddr, SocketAddr};

use sluice_api::types::LinkName;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Receive buffer asked for: bursts of some thousand queries. The kernel's own limit (`net.core.rmem_max`) applies.
const BUFFER: usize = 4 * 1024 * 1024;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// One address to answer on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    /// The router's address.
    pub(crate) address: IpAddr,
    /// The port.
    pub(crate) port: u16,
    /// The link that queries must come by. None: any, for a desk without links.
    pub(crate) link: Option<LinkName>,
}

impl Endpoint {
    /// A UDP socket, one of several on the same address.
    pub(crate) fn open_udp(&self) -> io::Result<Socket> {
        let socket = self.open(Type::DGRAM, Protocol::UDP)?;
        socket.set_reuse_port(true)?;
        // as much as the kernel allows: neither is needed to work
        let _limited = socket.set_recv_buffer_size(BUFFER);
        let _limited = socket.set_send_buffer_size(BUFFER);
        socket.bind(&self.socket_address())?;
        Ok(socket)
    }

    /// A listening TCP socket.
    pub(crate) fn open_tcp(&self) -> io::Result<Socket> {
        let socket = self.open(Type::STREAM, Protocol::TCP)?;
        socket.set_reuse_address(true)?;
        // one that is tied to a link and one that is not may have the same address
        socket.set_reuse_port(true)?;
        socket.bind(&self.socket_address())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    }

    /// True while `socket`, opened here, is still tied to a link of that name: it stays tied to the link it was opened on,
    /// even when another one takes its name.
    pub(crate) fn is_current(&self, socket: &Socket) -> bool {
        let Some(link) = &self.link else { return true };
        matches!(socket.device(), Ok(Some(name)) if name == link.as_str().as_bytes())
    }

    fn open(&self, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket = Socket::new(self.domain(), kind.nonblocking(), Some(protocol))?;
        match self.address {
            IpAddr::V4(_) => socket.set_freebind_v4(true)?,
            IpAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_freebind_v6(true)?;
            }
        }
        if let Some(link) = &self.link {
            socket.bind_device(Some(link.as_str().as_bytes()))?;
        }
        Ok(socket)
    }

    fn domain(&self) -> Domain {
        if self.address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }
    }

    fn socket_address(&self) -> SockAddr {
        SocketAddr::new(self.address, self.port).into()
    }
}
