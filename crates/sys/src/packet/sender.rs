//! IPv4 packets to a given Ethernet address, without ARP and without an entry in the neighbour table.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use sluice_api::types::LinkName;
use socket2::{Domain, Socket, Type};

use super::mmsg::{Item, send};
use super::{PacketError, Sent, device_index, only};
use crate::process::handed_over;

/// The name of the socket by which a process without `CAP_NET_RAW` sends frames.
pub const ETHERNET: &str = "ethernet";

/// A packet socket that only sends: its protocol is 0, so that the kernel delivers nothing to it.
#[derive(Debug)]
pub struct EthernetSender {
    index: i32,
    socket: Socket,
}

/// One IPv4 packet and the Ethernet address it goes to.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Destination; all ones for a broadcast, which is why this is not a `MacAddr`.
    pub to: [u8; 6],
    /// The packet from its IP header on.
    pub packet: &'a [u8],
}

impl EthernetSender {
    /// A socket to be given as [`ETHERNET`] to a process that has no right to open one. Whatever that process binds it to,
    /// it hears nothing: a filter that lets nothing in is locked onto it. It sends on every device that is
    /// not guarded ([`RealKernel::guard_frames`](crate::kernel::RealKernel::guard_frames)). Needs `CAP_NET_RAW`.
    pub fn deaf_socket() -> io::Result<OwnedFd> {
        let socket = new_socket()?;
        only(socket.as_fd(), None)?;
        Ok(socket.into())
    }

    /// Opens a sender on `device`, by the socket that this process was given for it, else by one of its own, which needs
    /// `CAP_NET_RAW`.
    pub fn open(device: &LinkName) -> Result<Self, PacketError> {
        let failed = |action, source| PacketError { device: device.clone(), action, source };
        let index = device_index(device)
            .and_then(|index| i32::try_from(index).ok())
            .ok_or_else(|| failed("find the device", io::ErrorKind::NotFound.into()))?;
        let socket = match handed_over(ETHERNET) {
            Ok(Some(socket)) => Ok(socket.into()),
            Ok(None) => new_socket(),
            Err(error) => Err(error),
        };
        let socket = socket.map_err(|error| failed("open a packet socket", error))?;
        Ok(Self { index, socket })
    }

    /// Sends every frame.
    pub fn send<'a>(&self, frames: impl IntoIterator<Item = Frame<'a>>) -> Sent {
        let mut items: Vec<_> = frames
            .into_iter()
            .map(|frame| Item {
                address: self.address(frame.to),
                control: None,
                bytes: frame.packet,
            })
            .collect();
        send(self.socket.as_fd(), &mut items)
    }

    fn address(&self, to: [u8; 6]) -> libc::sockaddr_ll {
        let mut address = [0; 8];
        for (place, byte) in address.iter_mut().zip(to) {
            *place = byte;
        }
        libc::sockaddr_ll {
            sll_family: libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or(0),
            sll_protocol: u16::try_from(libc::ETH_P_IP).unwrap_or(0).to_be(),
            sll_ifindex: self.index,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: address,
        }
    }
}

fn new_socket() -> io::Result<Socket> {
    Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), None)
}
