//! A UDP socket that hears one device only.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;

use sluice_api::types::{LinkName, Port};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::mmsg::{Item, PacketInfo, send, to_sockaddr};
use super::{PacketError, Sent, device_index, enable};
use crate::udp_batch::ReceiveBatch;

/// Bytes of datagrams that may wait, if the kernel's limit allows: a burst of about 1,000 guests that boot at once.
const WAITING: usize = 1 << 20;

/// A UDP socket on every address of one device, broadcasts included.
///
/// What it sends has no checksum, which IPv4 allows (RFC 768): a virtual NIC would leave the sum for hardware to complete,
/// which on the way to a guest of the same host never happens, and clients that read raw frames take a wrong sum for a
/// broken message.
#[derive(Debug)]
pub struct DeviceUdp {
    device: LinkName,
    index: u32,
    socket: UdpSocket,
}

/// One datagram to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Source address; must be one of the router's.
    pub source: Ipv4Addr,
    /// Where it goes; the route is by the socket's device.
    pub to: SocketAddrV4,
    /// Its content.
    pub bytes: &'a [u8],
}

impl DeviceUdp {
    /// Opens `port` on `device`. Needs `CAP_NET_BIND_SERVICE` for ports below 1024, and before Linux 5.7 `CAP_NET_RAW`.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn open(device: &LinkName, port: Port) -> Result<Self, PacketError> {
        let failed = |action| move |source| PacketError { device: device.clone(), action, source };
        let index = device_index(device)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            .map_err(failed("find the device"))?;
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))
            .map_err(failed("open a UDP socket"))?;
        // before bind: sockets on different devices then do not contend for the port
        socket.bind_device(Some(device.as_str().as_bytes())).map_err(failed("bind to device"))?;
        socket.set_broadcast(true).map_err(failed("allow broadcast"))?;
        enable(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK)
            .map_err(failed("send without checksums"))?;
        // a wish: what the kernel's limit leaves is good enough
        let _ = socket.set_recv_buffer_size(WAITING);
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port.get());
        socket.bind(&address.into()).map_err(failed("bind to the port"))?;
        let socket = UdpSocket::from_std(socket.into()).map_err(failed("watch the socket"))?;
        Ok(Self { device: device.clone(), index, socket })
    }

    /// False when the device is gone or another one has taken its name: time to open anew.
    pub fn is_current(&self) -> bool {
        device_index(&self.device) == Some(self.index)
    }

    /// Waits until something can be received.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Takes what is waiting, up to a batch. `WouldBlock` when there is nothing.
    ///
    /// A batch that is not full has emptied the socket, which saves the call that would find that out; what comes after it
    /// makes the socket readable anew.
    pub fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        let mut count = 0;
        let emptied = self.socket.try_io(Interest::READABLE, || {
            count = batch.receive(self.socket.as_fd())?;
            if count < batch.slots() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match emptied {
            Err(_) if count > 0 => Ok(count),
            other => other.map(|()| count),
        }
    }

    /// Sends every datagram.
    pub fn send<'a>(&self, datagrams: impl IntoIterator<Item = Outgoing<'a>>) -> Sent {
        let mut items: Vec<_> = datagrams
            .into_iter()
            .map(|datagram| Item {
                address: to_sockaddr(datagram.to),
                control: Some(PacketInfo::source(datagram.source)),
                bytes: datagram.bytes,
            })
            .collect();
        send(self.socket.as_fd(), &mut items)
    }
}
