//! Raises the loopback interface: one netlink message, built by hand because the netlink crates are async and the
//! agent's business.

use std::io;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::AsRawFd;

/// rtnetlink(7): header of 16 bytes, ifinfomsg of 16.
const LENGTH: u32 = 32;
const RTM_NEWLINK: u16 = 16;
const REQUEST_AND_ACK: u16 = 0x5;
const IFF_UP: u32 = 1;
/// The kernel gives the loopback interface of every namespace this index.
const LOOPBACK: u32 = 1;
/// Where an NLMSG_ERROR answer carries its code.
const ERROR_AT: std::ops::Range<usize> = 16..20;

/// Raises `lo`.
pub(crate) fn up() -> io::Result<()> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    sendto(fd.as_raw_fd(), &request(), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 128];
    recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    match error_code(&answer) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

fn request() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend(LENGTH.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]); // sequence and port: the only message on this socket
    message.extend([0; 4]); // family, padding, device type
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes()); // flags
    message.extend(IFF_UP.to_ne_bytes()); // which flags change
    message
}

fn error_code(answer: &[u8]) -> i32 {
    let bytes = answer.get(ERROR_AT).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
    i32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_the_length_it_states() {
        assert_eq!(request().len(), usize::try_from(LENGTH).unwrap());
    }

    #[test]
    fn the_kernel_accepts_it_or_says_why() {
        // without rights the kernel must answer "not permitted", which shows that it understood the message
        match up() {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
        }
    }
}
