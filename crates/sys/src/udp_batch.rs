//! Many UDP datagrams in one system call: recvmmsg(2) and sendmmsg(2).
//!
//! Guarantees: bounded memory that is allocated once; a datagram longer than a slot is reported as cut, never read past
//! its end; safe to call with any descriptor. Not here: waiting for readiness, which is the caller's event loop's.
//! Why: at some 100,000 small datagrams a second the system call is the cost, so it is shared by a batch.

#![allow(unsafe_code)] // the two system calls and the zeroed C structures they take

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Datagrams received together.
pub struct ReceiveBatch {
    slot_bytes: usize,
    data: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    lengths: Vec<usize>,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
}

/// Datagrams to be sent together.
pub struct SendBatch {
    slot_bytes: usize,
    data: Vec<u8>,
    names: Vec<(libc::sockaddr_storage, libc::socklen_t)>,
    lengths: Vec<usize>,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
}

// SAFETY: the raw pointers inside `headers` and `vectors` point into heap buffers that the same value owns and never
// resizes, so they stay good when it moves to another thread; only the system calls follow them.
unsafe impl Send for ReceiveBatch {}
// SAFETY: as above.
unsafe impl Send for SendBatch {}

impl ReceiveBatch {
    /// Room for `slots` datagrams of at most `slot_bytes` bytes each.
    pub fn new(slots: usize, slot_bytes: usize) -> Self {
        let mut batch = Self {
            slot_bytes,
            data: vec![0; slots * slot_bytes],
            names: vec![zeroed(); slots],
            lengths: Vec::with_capacity(slots),
            headers: vec![zeroed(); slots],
            vectors: vec![zeroed(); slots],
        };
        batch.aim();
        batch
    }

    /// How many datagrams it has room for.
    pub fn slots(&self) -> usize {
        self.headers.len()
    }

    /// Replaces the batch by what waits at `socket`, without blocking; answers how many.
    ///
    /// Errors: the system call's own, `WouldBlock` when nothing waits.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        // the kernel shortened the name lengths of what it used last time; the rest is as `new` left it
        for header in self.headers.iter_mut().take(self.lengths.len()) {
            header.msg_hdr.msg_namelen = size_of_u32::<libc::sockaddr_storage>();
        }
        self.lengths.clear();
        let slots = u32::try_from(self.headers.len()).unwrap_or(u32::MAX);
        // SAFETY: each of the `slots` headers points at one name and one vector that are alive and not otherwise
        // borrowed during the call, each vector at its own `slot_bytes` bytes of `data`: `new` aimed them, and none of
        // the buffers they point into has been resized since, which nothing here does.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                slots,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for header in self.headers.iter().take(count) {
            let cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            // a cut datagram is no message: length 0, which every reader must refuse anyway
            self.lengths.push(if cut { 0 } else { header.msg_len as usize });
        }
        Ok(count)
    }

    /// The datagrams of the last [`receive`](Self::receive) with their senders; a cut one is empty.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        self.data.chunks(self.slot_bytes.max(1)).zip(&self.names).zip(&self.lengths).filter_map(
            |((slot, name), length)| {
                let message = slot.get(..*length)?;
                Some((message, read_name(name)?))
            },
        )
    }

    fn aim(&mut self) {
        let slots = self.data.chunks_mut(self.slot_bytes.max(1));
        let parts = slots.zip(&mut self.names).zip(&mut self.vectors).zip(&mut self.headers);
        for (((slot, name), vector), header) in parts {
            vector.iov_base = slot.as_mut_ptr().cast();
            vector.iov_len = slot.len();
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of_u32::<libc::sockaddr_storage>();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
    }
}

impl SendBatch {
    /// Room for `slots` datagrams of at most `slot_bytes` bytes each.
    pub fn new(slots: usize, slot_bytes: usize) -> Self {
        Self {
            slot_bytes,
            data: vec![0; slots * slot_bytes],
            names: Vec::with_capacity(slots),
            lengths: Vec::with_capacity(slots),
            headers: vec![zeroed(); slots],
            vectors: vec![zeroed(); slots],
        }
    }

    /// Lets `write` fill the next free slot for `to`; it answers how many bytes it wrote, 0 for none to send.
    ///
    /// Answers false when the batch is full, and then does not call `write`.
    pub fn push(&mut self, to: SocketAddr, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let start = self.names.len() * self.slot_bytes;
        let Some(slot) = self.data.get_mut(start..start + self.slot_bytes) else { return false };
        let length = write(slot).min(self.slot_bytes);
        if length > 0 {
            self.names.push(write_name(to));
            self.lengths.push(length);
        }
        true
    }

    /// How many datagrams wait to be sent.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Sends what waits from the `from`th datagram on, without blocking; answers how many were taken.
    ///
    /// Errors: the system call's own, which concerns the `from`th datagram alone; `WouldBlock` when the socket is full.
    pub fn send(&mut self, socket: BorrowedFd<'_>, from: usize) -> io::Result<usize> {
        let count = self.names.len().saturating_sub(from);
        if count == 0 {
            return Ok(0);
        }
        self.aim();
        let Some(first) = self.headers.get_mut(from) else { return Ok(0) };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        // SAFETY: the `count` headers from `first` on were all aimed at names and vectors that are alive during the
        // call; the kernel only reads what they point at.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                first,
                count,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Empties the batch.
    pub fn clear(&mut self) {
        self.names.clear();
        self.lengths.clear();
    }

    fn aim(&mut self) {
        let slots = self.data.chunks_mut(self.slot_bytes.max(1)).zip(&self.lengths);
        let parts = slots.zip(&mut self.names).zip(&mut self.vectors).zip(&mut self.headers);
        for ((((slot, length), (name, name_length)), vector), header) in parts {
            vector.iov_base = slot.as_mut_ptr().cast();
            vector.iov_len = *length;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = *name_length;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
    }
}

trait Plain: Copy {}
impl Plain for libc::sockaddr_storage {}
impl Plain for libc::mmsghdr {}
impl Plain for libc::iovec {}

fn zeroed<T: Plain>() -> T {
    // SAFETY: `Plain` is implemented here alone, for C structures of integers and raw pointers, for which all bits zero
    // is a value.
    unsafe { mem::zeroed() }
}

#[allow(clippy::cast_possible_truncation)] // socket address structures are some 128 bytes
const fn size_of_u32<T>() -> u32 {
    size_of::<T>() as u32
}

fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a `sockaddr_in`, which is smaller than the storage and
            // needs no more than its alignment.
            let v4 = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, with `sockaddr_in6`.
            let v6 = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[allow(clippy::cast_possible_truncation)] // the family constants are small
fn write_name(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let mut storage: libc::sockaddr_storage = zeroed();
    let length = match address {
        SocketAddr::V4(v4) => {
            // SAFETY: the storage is larger than and aligned for a `sockaddr_in`, and exclusively ours.
            let name = unsafe { &mut *ptr::from_mut(&mut storage).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = v4.port().to_be();
            name.sin_addr.s_addr = v4.ip().to_bits().to_be();
            size_of_u32::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above, with `sockaddr_in6`.
            let name = unsafe { &mut *ptr::from_mut(&mut storage).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = v6.port().to_be();
            name.sin6_flowinfo = v6.flowinfo();
            name.sin6_addr.s6_addr = v6.ip().octets();
            name.sin6_scope_id = v6.scope_id();
            size_of_u32::<libc::sockaddr_in6>()
        }
    };
    (storage, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    fn there_and_back(host: &str) {
        let server = UdpSocket::bind((host, 0)).unwrap();
        let client = UdpSocket::bind((host, 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let to = server.local_addr().unwrap();
        for text in ["one", "two", "much longer than a slot"] {
            client.send_to(text.as_bytes(), to).unwrap();
        }
        let mut inbox = ReceiveBatch::new(4, 16);
        assert_eq!(inbox.receive(server.as_fd()).unwrap(), 3);
        let mut outbox = SendBatch::new(2, 16);
        for (message, from) in inbox.iter() {
            assert_eq!(from, client.local_addr().unwrap());
            outbox.push(from, |slot| {
                slot[..message.len()].copy_from_slice(message);
                message.len()
            });
        }
        assert_eq!(outbox.len(), 2, "the cut datagram is empty and so not echoed");
        assert!(!outbox.push(to, |_| 1), "a full batch takes no more");
        assert_eq!(outbox.send(server.as_fd(), 0).unwrap(), 2);
        let mut buffer = [0; 16];
        for text in ["one", "two"] {
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (text.as_bytes(), to));
        }
    }

    #[test]
    fn batches_carry_v4_and_v6_addresses_and_refuse_cut_datagrams() {
        there_and_back("127.0.0.1");
        there_and_back("::1");
    }

    #[test]
    fn an_empty_socket_would_block() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = ReceiveBatch::new(1, 16).receive(server.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
