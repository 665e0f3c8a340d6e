//! sendmmsg(2) to addresses of either family that this module knows, with a chosen source address.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::Sent;

/// Datagrams per system call: enough to hide its cost, few enough that one link cannot keep others waiting.
const BATCH: usize = 64;
/// One datagram to send: the address as the socket's family wants it, ancillary data, content.
pub(super) struct Item<'a, A> {
    pub(super) address: A,
    pub(super) control: Option<PacketInfo>,
    pub(super) bytes: &'a [u8],
}

/// Plain C address structs that can be handed to the kernel as they are.
pub(super) trait SocketAddress {}
impl SocketAddress for libc::sockaddr_in {}
impl SocketAddress for libc::sockaddr_ll {}

/// An `IP_PKTINFO` control message that names the source address.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct PacketInfo {
    header: libc::cmsghdr,
    info: libc::in_pktinfo,
}

impl PacketInfo {
    #[allow(unsafe_code)]
    pub(super) fn source(address: Ipv4Addr) -> Self {
        // SAFETY: all-zero is a valid value of these plain C structs
        let mut this: Self = unsafe { zeroed() };
        // SAFETY: arithmetic on a length, no memory is touched
        this.header.cmsg_len = unsafe { libc::CMSG_LEN(length_of::<libc::in_pktinfo>()) } as usize;
        this.header.cmsg_level = libc::IPPROTO_IP;
        this.header.cmsg_type = libc::IP_PKTINFO;
        this.info.ipi_spec_dst.s_addr = u32::from_ne_bytes(address.octets());
        this
    }
}

/// Sends `items` in as few calls as possible; one that is refused does not stop those after it.
pub(super) fn send<A: SocketAddress>(socket: BorrowedFd<'_>, items: &mut [Item<'_, A>]) -> Sent {
    let mut report = Sent::default();
    for batch in items.chunks_mut(BATCH) {
        send_batch(socket, batch, &mut report);
    }
    report
}

fn send_batch<A: SocketAddress>(
    socket: BorrowedFd<'_>,
    mut batch: &mut [Item<'_, A>],
    report: &mut Sent,
) {
    while !batch.is_empty() {
        let done = match send_once(socket, batch) {
            Ok(count) => {
                report.sent += count;
                count
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                report.failed += 1;
                report.error.get_or_insert(error);
                1
            }
        };
        batch = batch.get_mut(done..).unwrap_or_default();
    }
}

#[allow(unsafe_code)]
fn send_once<A: SocketAddress>(
    socket: BorrowedFd<'_>,
    batch: &mut [Item<'_, A>],
) -> io::Result<usize> {
    // SAFETY: all-zero is a valid value of these plain C structs
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
    // SAFETY: as above
    let mut vectors: [libc::iovec; BATCH] = unsafe { zeroed() };
    let mut count = 0;
    for ((item, vector), header) in batch.iter_mut().zip(&mut vectors).zip(&mut headers) {
        // the kernel only reads what it sends; the struct has one pointer type for both directions
        vector.iov_base = item.bytes.as_ptr().cast_mut().cast();
        vector.iov_len = item.bytes.len();
        header.msg_hdr.msg_name = (&raw mut item.address).cast();
        header.msg_hdr.msg_namelen = length_of::<A>();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        if let Some(control) = &mut item.control {
            header.msg_hdr.msg_control = (&raw mut *control).cast();
            header.msg_hdr.msg_controllen = size_of::<PacketInfo>();
        }
        count += 1;
    }
    // SAFETY: the first `count` entries of `headers` point into `batch` and `vectors`, which are alive and unmoved until
    // the call returns; the lengths are those of what is pointed to
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn length_of<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(0)
}

/// The C form of `address`.
pub(super) fn to_sockaddr(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0),
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}
