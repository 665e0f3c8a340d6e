//! A packet socket on one device: whole Ethernet frames in and out, as `tcpdump` sees them.
//!
//! Guarantees: never blocks; hears its device alone from the first frame on; a frame longer than the buffer is cut and
//! its true length told; a VLAN tag that the NIC took off is told too. Frames are seen before the firewall on their way
//! in and after it on their way out. Not here: any meaning of the bytes.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sluice_api::types::{LinkName, MacAddr};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{PacketError, device_index, enable, only, watched};
use crate::process::take_handed;

/// Bytes of frames that may wait, if the kernel's limit allows.
const WAITING: usize = 4 << 20;
/// Room for the ancillary data of one frame: a time stamp and the VLAN tag take 80 bytes.
const CONTROL: usize = 256;

/// The name of the sockets by which a process without `CAP_NET_RAW` hears ARP.
pub const ARP: &str = "arp";
/// Frames that may have come before a lent socket was bound to its device.
const BEFORE: usize = 4096;

/// Those that this process was given and nobody uses; `None` when it was given none and opens its own.
static FREE: LazyLock<Option<Mutex<Vec<OwnedFd>>>> = LazyLock::new(|| {
    let given = take_handed(ARP);
    (!given.is_empty()).then(|| Mutex::new(given))
});

/// Which frames to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hear {
    /// All of them, those that leave included.
    All,
    /// ARP.
    Arp,
    /// IPv6.
    Ipv6,
}

/// A frame that was received into the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Bytes of it in the buffer.
    pub taken: usize,
    /// Bytes that it has, without a tag that was taken off.
    pub length: usize,
    /// When the kernel saw it.
    pub at: SystemTime,
    /// Tag protocol and tag, if one was taken off: to be put back behind the two addresses.
    pub tag: Option<(u16, u16)>,
}

/// The socket.
#[derive(Debug)]
pub struct FrameSocket {
    socket: AsyncFd<Socket>,
    /// Where it comes from: given back after it was closed.
    _lent: Option<Lent>,
}

/// One of the sockets that this process was given, while somebody uses it.
#[derive(Debug)]
struct Lent(Option<OwnedFd>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(socket), Some(free)) = (self.0.take(), &*FREE) {
            free.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        }
    }
}

impl FrameSocket {
    /// A socket to be given as [`ARP`] to a process that has no right to open one. Whatever that process binds it to, it
    /// hears nothing but ARP: a filter is locked onto it. Needs `CAP_NET_RAW`.
    pub fn arp_socket() -> io::Result<OwnedFd> {
        let socket = new_socket()?;
        only(socket.as_fd(), Some(libc::ETH_P_ARP))?;
        Ok(socket.into())
    }

    /// Opens a socket on `device`; for ARP one of those that this process was given, if it was given any. Else this needs
    /// `CAP_NET_RAW`.
    ///
    /// Errors: the device is not there; all sockets that were given are in use (`WouldBlock`); the kernel's.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn open(device: &LinkName, hear: Hear) -> Result<Self, PacketError> {
        let failed = |action| move |source| PacketError { device: device.clone(), action, source };
        let index = device_index(device)
            .and_then(|index| i32::try_from(index).ok())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            .map_err(failed("find the device"))?;
        let (socket, lent) = unbound(hear).map_err(failed("open a packet socket"))?;
        // a wish: what the kernel's limit leaves is good enough
        let _ = socket.set_recv_buffer_size(WAITING);
        enable(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_AUXDATA)
            .and_then(|()| enable(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS))
            .map_err(failed("ask for time stamps and tags"))?;
        let address = address(index, hear).map_err(failed("bind to the device"))?;
        socket.bind(&address).map_err(failed("bind to the device"))?;
        if lent.is_some() {
            // of the device that it was bound to before
            let mut frame = [0; 64];
            let _last = (0..BEFORE).find(|_| receive_frame(socket.as_fd(), &mut frame).is_err());
        }
        let socket = watched(socket).map_err(failed("watch the socket"))?;
        Ok(Self { socket, _lent: lent })
    }

    /// Waits for a frame. Cancel safe.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Seen> {
        self.socket
            .async_io(Interest::READABLE, |socket| receive_frame(socket.as_fd(), buffer))
            .await
    }

    /// The same socket for another process, as it is bound here.
    ///
    /// Errors: no descriptor is left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.get_ref().as_fd().try_clone_to_owned()
    }

    /// The device's own Ethernet address, as long as it is there.
    #[allow(unsafe_code)]
    pub fn mac(&self) -> Option<MacAddr> {
        let address = self.socket.get_ref().local_addr().ok()?;
        if i32::from(address.family()) != libc::AF_PACKET {
            return None;
        }
        // SAFETY: the kernel wrote the address of a packet socket, which is a `sockaddr_ll`, into storage that is larger than
        // one, aligned for any address and zeroed before; it lives as long as `address`
        let link = unsafe { &*address.as_ptr().cast::<libc::sockaddr_ll>() };
        (link.sll_halen == 6)
            .then_some(link.sll_addr)?
            .first_chunk()
            .copied()
            .and_then(MacAddr::from_bytes)
    }

    /// Sends one frame, from its destination address on.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.get_ref().send(frame).map(drop)
    }
}

/// A socket that hears nothing that is wanted yet, and where it comes from.
fn unbound(hear: Hear) -> io::Result<(Socket, Option<Lent>)> {
    let Some(free) = FREE.as_ref().filter(|_| hear == Hear::Arp) else {
        return Ok((new_socket()?, None));
    };
    let socket = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let lent = Lent(Some(socket.ok_or(io::ErrorKind::WouldBlock)?));
    let socket = lent.0.as_ref().map(OwnedFd::try_clone).transpose()?;
    Ok((socket.ok_or(io::ErrorKind::WouldBlock)?.into(), Some(lent)))
}

/// Protocol 0 until it is bound: else it would hear every device for a moment.
fn new_socket() -> io::Result<Socket> {
    Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)
}

#[allow(unsafe_code)]
fn address(index: i32, hear: Hear) -> io::Result<SockAddr> {
    let protocol = match hear {
        Hear::All => libc::ETH_P_ALL,
        Hear::Arp => libc::ETH_P_ARP,
        Hear::Ipv6 => libc::ETH_P_IPV6,
    };
    // SAFETY: the storage is larger than a `sockaddr_ll` and aligned for any address; all fields that bind(2) reads are
    // set, the others are zero, and the length is that of the struct
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let place = storage.cast::<libc::sockaddr_ll>();
            (*place).sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or(0);
            (*place).sll_protocol = u16::try_from(protocol).unwrap_or(0).to_be();
            (*place).sll_ifindex = index;
            *length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
            Ok(())
        })?
    };
    Ok(address)
}

/// Ancillary data, aligned as the kernel's headers in it must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Takes a frame from a packet socket, one that was handed over included; never waits.
///
/// Errors: there is none (`WouldBlock`); the device went down or away.
#[allow(unsafe_code)]
pub fn receive_frame(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Seen> {
    let mut control = Control([0; CONTROL]);
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero is a valid value of this plain C struct
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<Control>();
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: the header points at one vector and the control buffer, both alive and not otherwise borrowed during the
    // call, with their true lengths; the vector points at `buffer`, of its own length
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let mut seen =
        Seen { taken: length.min(buffer.len()), length, at: SystemTime::now(), tag: None };
    read_control(&header, &mut seen);
    Ok(seen)
}

/// Takes time stamp and tag out of what recvmsg(2) left in `header`'s control buffer, which must be alive.
#[allow(unsafe_code)]
fn read_control(header: &libc::msghdr, seen: &mut Seen) {
    // SAFETY: the kernel filled `msg_control` and set `msg_controllen` to what it used; the macro stays inside
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: the pointer is null or at a whole control header inside the buffer, as the CMSG macros promise
    while let Some(one) = unsafe { next.as_ref() } {
        // SAFETY: as above; the data follows its header
        let data = unsafe { libc::CMSG_DATA(next) };
        match (one.cmsg_level, one.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: a message of this type holds one timespec; it may be unaligned for the type
                let stamp = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                seen.at = time_of(stamp).unwrap_or(seen.at);
            }
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                // SAFETY: a message of this type holds one tpacket_auxdata; it may be unaligned for the type
                let aux = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
                seen.tag = tag_of(&aux);
            }
            _ => {}
        }
        // SAFETY: as for the first one
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
}

fn time_of(stamp: libc::timespec) -> Option<SystemTime> {
    let seconds = u64::try_from(stamp.tv_sec).ok()?;
    let nanoseconds = u32::try_from(stamp.tv_nsec).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}

fn tag_of(aux: &libc::tpacket_auxdata) -> Option<(u16, u16)> {
    let has = |flag| aux.tp_status & flag != 0;
    let protocol = if has(libc::TP_STATUS_VLAN_TPID_VALID) { aux.tp_vlan_tpid } else { 0x8100 };
    has(libc::TP_STATUS_VLAN_VALID).then_some((protocol, aux.tp_vlan_tci))
}
