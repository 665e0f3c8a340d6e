//! The kernel's announcements of new devices: drivers are loaded for what is plugged in while the machine runs.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::unix::AsyncFd;

use super::devices::field;

/// The kernel's own group; group 2 is for user space and could be forged.
const KERNEL_GROUP: u32 = 1;
/// Longest announcement the kernel makes (UEVENT_BUFFER_SIZE and its header).
const MAX_MESSAGE: usize = 4096;

/// What was plugged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// A device that wants a driver, by its alias.
    Wants(String),
    /// An input device is ready, by its node below `/dev`.
    Input(String),
}

/// The socket that hears announcements.
#[derive(Debug)]
pub(crate) struct Hotplug {
    socket: AsyncFd<OwnedFd>,
}

impl Hotplug {
    /// Starts listening; must be called inside a tokio runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkKObjectUEvent;
        let fd = socket(AddressFamily::Netlink, SockType::Datagram, flags, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        #[expect(
            deprecated,
            reason = "the other constructor is unsafe and asks what an `OwnedFd` promises"
        )]
        let socket = AsyncFd::new(fd)?;
        Ok(Self { socket })
    }

    /// The next device of interest. Lost announcements (a full buffer) are read over: the driver then loads at next boot.
    pub(crate) async fn next(&self) -> Added {
        loop {
            let mut buffer = [0; MAX_MESSAGE];
            let read = |fd: &OwnedFd| Ok(recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?);
            let count =
                self.socket.async_io(tokio::io::Interest::READABLE, read).await.unwrap_or(0);
            let message = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default());
            if let Some(added) = parse(&message) {
                return added;
            }
        }
    }
}

fn parse(message: &str) -> Option<Added> {
    if field(message, "ACTION") != Some("add") {
        return None;
    }
    if let Some(node) = field(message, "DEVNAME").filter(|node| node.starts_with("input/event")) {
        return Some(Added::Input(node.to_owned()));
    }
    field(message, "MODALIAS").map(|alias| Added::Wants(alias.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_additions_matter() {
        let nic = "add@/devices/pci0/x\0ACTION=add\0SUBSYSTEM=pci\0MODALIAS=pci:v1AF4\0";
        assert_eq!(parse(nic), Some(Added::Wants("pci:v1AF4".into())));
        assert_eq!(parse(&nic.replace("ACTION=add", "ACTION=remove")), None);
        let button = "add@/x\0ACTION=add\0DEVNAME=input/event0\0";
        assert_eq!(parse(button), Some(Added::Input("input/event0".into())));
        assert_eq!(parse("libudev\0garbage"), None);
    }
}
