//! TAP and TUN devices: an interface for Ethernet, or for IP alone, whose other end is this program.
//!
//! Guarantees: a read is one whole frame or packet and a write sends one; the device goes away when the last handle is dropped.
//! It is made in the network namespace of the calling thread and stays in whichever it is moved to.
//! Why here: making one is an ioctl, and only this crate may hold unsafe code.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A TAP device that is not yet tied to an async runtime.
#[derive(Debug)]
pub struct TapDevice(File);

/// A TAP device on the runtime that it was registered with.
#[derive(Debug)]
pub struct AsyncTap(AsyncFd<File>);

impl TapDevice {
    /// Makes (or reattaches to) the interface `name`, 1 to 15 bytes, down and without an address.
    ///
    /// Errors: no rights (CAP_NET_ADMIN), no `/dev/net/tun`, a name that is too long or another interface's.
    pub fn open(name: &str) -> io::Result<Self> {
        Self::make(name, libc::IFF_TAP)
    }

    /// The same for packets of IP without Ethernet, which is a TUN device.
    pub fn open_for_packets(name: &str) -> io::Result<Self> {
        Self::make(name, libc::IFF_TUN)
    }

    fn make(name: &str, kind: libc::c_int) -> io::Result<Self> {
        let device = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")?;
        let request = request(name, kind)?;
        // SAFETY: the descriptor is open for the length of the call, and TUNSETIFF reads and writes
        // one `ifreq`, which `request` is and which outlives the call.
        #[allow(unsafe_code)]
        let result =
            unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(device)) }
    }
}

fn request(name: &str, kind: libc::c_int) -> io::Result<libc::ifreq> {
    let fits = !name.is_empty() && name.len() < libc::IFNAMSIZ && !name.contains('\0');
    if !fits {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "interface name length"));
    }
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // no packet information header: what is read is the frame and nothing else
    let ifru_flags = libc::c_short::try_from(kind | libc::IFF_NO_PI)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags } })
}

impl AsyncTap {
    /// Ties the device to the current runtime; panics outside one, as everything of tokio does.
    pub fn new(device: TapDevice) -> io::Result<Self> {
        // SAFETY: the file owns its valid descriptor and is neither replaced nor closed while the
        // `AsyncFd` owns it: the field is private and only read from and written to.
        #[allow(unsafe_code)]
        let registered = unsafe { AsyncFd::register(device.0) };
        Ok(Self(registered?))
    }

    /// Waits for a frame that the host sends; returns its length.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.async_io(Interest::READABLE, |mut device| device.read(buffer)).await
    }

    /// Hands one frame to the host.
    pub async fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, |mut device| device.write(frame)).await.map(drop)
    }
}
