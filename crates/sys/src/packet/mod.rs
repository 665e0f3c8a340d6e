//! Datagrams by the batch on one device: a UDP socket that hears only that device, and a sender of bare IPv4 packets
//! to a given Ethernet address. For diagnostics: ICMP with a chosen hop limit, and whole frames.
//!
//! Guarantees: never blocks (sockets are non-blocking); a received datagram is whole, since one that was cut off is
//! emptied. Not here: retries, and noticing that a device was replaced, for which [`DeviceUdp::is_current`]
//! gives the means. Why services get a packet socket only to send: what comes in shall pass the firewall like anything
//! else; only diagnostics look past it, for to see what the firewall drops is their purpose.

mod announce;
mod frames;
mod icmp;
mod mmsg;
mod sender;
mod udp;

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use sluice_api::types::LinkName;
use socket2::Socket;
use thiserror::Error;
use tokio::io::unix::AsyncFd;

pub use announce::announce;
pub use frames::{ARP, FrameSocket, Hear, Seen, receive_frame};
pub use icmp::{IcmpSocket, receive_message};
pub use sender::{ETHERNET, EthernetSender, Frame};
pub use udp::{DeviceUdp, Outgoing};

/// What went wrong with the sockets of one device. Worth a retry: devices appear, flap and are replaced.
#[derive(Debug, Error)]
#[error("{action} on {device}")]
pub struct PacketError {
    /// The device.
    pub device: LinkName,
    /// What was being done.
    pub action: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

/// What became of a batch that was sent. What failed is not retried: clients of datagram protocols ask again.
#[derive(Debug, Default)]
pub struct Sent {
    /// Datagrams that the kernel took.
    pub sent: usize,
    /// Datagrams that it refused.
    pub failed: usize,
    /// Its first refusal.
    pub error: Option<io::Error>,
}

/// The kernel's number of `device`, if it exists now.
pub fn device_index(device: &LinkName) -> Option<u32> {
    nix::net::if_::if_nametoindex(device.as_str()).ok()
}

/// Switches `option` of a socket on.
#[allow(unsafe_code)]
fn enable(socket: BorrowedFd<'_>, level: i32, option: i32) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and `on` is one int that outlives the call and whose size is given
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            u32::try_from(size_of::<libc::c_int>()).unwrap_or(0),
        )
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets frames of this protocol alone into a packet socket, none without one, for good.
#[allow(unsafe_code)]
fn only(socket: BorrowedFd<'_>, protocol: Option<i32>) -> io::Result<()> {
    let code = |of: u32| u16::try_from(of).unwrap_or(0);
    let step = |of, k, jf| libc::sock_filter { code: code(of), jt: 0, jf, k };
    let give = |bytes| step(libc::BPF_RET | libc::BPF_K, bytes, 0);
    let mut program = match protocol {
        // the type of the frame, behind two addresses
        Some(protocol) => vec![
            step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 12, 0),
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, protocol.cast_unsigned(), 1),
            give(u32::from(u16::MAX)),
            give(0),
        ],
        None => vec![give(0)],
    };
    let len = u16::try_from(program.len()).unwrap_or(0);
    let filter = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: the descriptor is open; the filter points at as many instructions as it says, and both outlive the call, whose
    // length is that of the struct
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            u32::try_from(size_of::<libc::sock_fprog>()).unwrap_or(0),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    enable(socket, libc::SOL_SOCKET, libc::SO_LOCK_FILTER)
}

/// Ties a socket to the current runtime.
#[allow(unsafe_code)]
fn watched(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the socket owns its valid descriptor and is neither replaced nor closed while the `AsyncFd` owns it: those
    // who get it here keep it in a private field and only read from and write to it.
    let registered = unsafe { AsyncFd::register(socket) };
    Ok(registered?)
}
