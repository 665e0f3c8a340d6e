//! UDP sockets that say by which mark a datagram came, and send by a mark: what tells IPsec clients apart that share an
//! address and a port behind one NAT.
//!
//! Guarantees: never blocks; a datagram is whole or is not delivered; the mark is that of the packet, 0 without one.
//! Needs `CAP_NET_ADMIN` to send by a mark. Not here: which marks there are, which the IKE daemon chooses.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket as Blocking};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// SO_RCVMARK of Linux 5.19 and later; libc has no name for it yet.
const SO_RCVMARK: libc::c_int = 75;

/// A UDP socket at one address.
#[derive(Debug)]
pub struct MarkedUdp {
    socket: UdpSocket,
    local: Ipv4Addr,
}

/// A datagram that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its length in bytes.
    pub length: usize,
    /// Where it comes from.
    pub remote: SocketAddrV4,
    /// The packet's mark.
    pub mark: u32,
}

impl MarkedUdp {
    /// Listens at `local`, which need not be an address of a link yet. Others may listen at the same: sockets that
    /// [`connected`] made get what their peers send.
    pub fn listen(local: SocketAddrV4) -> io::Result<Self> {
        let socket = open(local)?;
        Self::adopt(socket.into(), *local.ip())
    }

    /// Reads from a socket that somebody else made and goes on using; `fd` is a duplicate.
    pub fn adopt(fd: OwnedFd, local: Ipv4Addr) -> io::Result<Self> {
        set_receive_mark(&fd)?;
        let socket = Blocking::from(fd);
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, local })
    }

    /// The address it listens at.
    pub fn local(&self) -> Ipv4Addr {
        self.local
    }

    /// Waits for a datagram, which is put into `buffer`; one that does not fit is dropped.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Arrived> {
        loop {
            let arrived =
                self.socket.async_io(Interest::READABLE, || receive(&self.socket, buffer));
            if let Some(arrived) = arrived.await? {
                return Ok(arrived);
            }
        }
    }

    /// Sends one datagram by `mark`.
    pub fn send(&self, to: SocketAddrV4, mark: u32, bytes: &[u8]) -> io::Result<()> {
        // the socket's own mark is that of its last datagram; nobody else sends by it
        let socket = SockRef::from(&self.socket);
        socket.set_mark(mark)?;
        // not by the runtime, which takes a fresh socket for one that cannot send yet
        socket.send_to(bytes, &SocketAddr::from(to).into()).map(drop)
    }
}

/// A socket at `local` for one peer: connected, and marked for what the kernel itself sends by it.
pub fn connected(local: SocketAddrV4, remote: SocketAddrV4, mark: u32) -> io::Result<OwnedFd> {
    let socket = open(local)?;
    socket.set_mark(mark)?;
    socket.connect(&remote.into())?;
    Ok(socket.into())
}

fn open(local: SocketAddrV4) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_freebind_v4(true)?;
    socket.bind(&local.into())?;
    Ok(socket)
}

fn set_receive_mark(fd: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: setsockopt reads one integer of the length given, which outlives the call.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_RCVMARK,
            (&raw const on).cast(),
            length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `None`: a datagram that was dropped.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<Arrived>> {
    let mut control = nix::cmsg_space!(u32);
    let mut vectors = [io::IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut vectors, Some(&mut control), flags)?;
    let mark = message.cmsgs()?.find_map(mark).unwrap_or(0);
    let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
    let remote = message.address.map(|from| SocketAddrV4::new(from.ip(), from.port()));
    Ok(remote.filter(|_| whole).map(|remote| Arrived { length: message.bytes, remote, mark }))
}

fn mark(control: ControlMessageOwned) -> Option<u32> {
    let ControlMessageOwned::Unknown(other) = control else { return None };
    let is_mark = other.cmsg_header.cmsg_level == libc::SOL_SOCKET
        && other.cmsg_header.cmsg_type == libc::SO_MARK;
    let bytes = other.data_bytes.first_chunk()?;
    is_mark.then(|| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    /// Loopback keeps a packet's mark.
    #[tokio::test]
    async fn a_mark_is_seen_and_used() {
        let server = MarkedUdp::listen(at(0)).unwrap();
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, server.socket.local_addr().unwrap().port());
        let client = MarkedUdp::listen(at(0)).unwrap();
        if client
            .send(to, 7, b"probe")
            .is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
        {
            eprintln!("SKIPPED: marking packets needs CAP_NET_ADMIN");
            return;
        }
        let mut buffer = [0; 64];
        let arrived = server.receive(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..arrived.length], arrived.mark), (&b"probe"[..], 7));
        server.send(arrived.remote, 9, b"answer").unwrap();
        let back = client.receive(&mut buffer).await.unwrap();
        assert_eq!((back.remote, back.mark), (to, 9));
        // a connected twin of the server gets what its peer sends, and the mark with it
        let twin = connected(to, arrived.remote, 3).unwrap();
        let twin = MarkedUdp::adopt(twin, Ipv4Addr::LOCALHOST).unwrap();
        client.send(to, 11, b"more").unwrap();
        let arrived = twin.receive(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..arrived.length], arrived.mark), (&b"more"[..], 11));
    }

    #[tokio::test]
    async fn a_datagram_that_does_not_fit_is_dropped() {
        let server = MarkedUdp::listen(at(0)).unwrap();
        let to = server.socket.local_addr().unwrap();
        let client = Blocking::bind("127.0.0.1:0").unwrap();
        client.send_to(&[1; 100], to).unwrap();
        client.send_to(b"short", to).unwrap();
        let mut buffer = [0; 16];
        let arrived = server.receive(&mut buffer).await.unwrap();
        assert_eq!((arrived.length, arrived.mark), (5, 0));
    }
}
