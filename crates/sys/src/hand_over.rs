//! Open descriptors from one process to another, over a Unix socket (SCM_RIGHTS of unix(7)), and who is at its other end.
//!
//! Guarantees: what is received is closed on exec; a message with fewer descriptors than promised is an error.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Descriptors of one message; the kernel takes 253 (SCM_MAX_FD).
const AT_ONCE: usize = 128;

/// Sends `all`, some with each byte.
pub fn send(socket: &UnixStream, all: &[BorrowedFd<'_>]) -> io::Result<()> {
    for some in all.chunks(AT_ONCE) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(some)) {
            return Err(io::Error::other("descriptors do not fit"));
        }
        sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives `count` descriptors.
///
/// Errors: the other end closed, or sent a byte without any.
pub fn receive(socket: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    while all.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let (mut byte, before) = ([0], all.len());
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let message = recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if message.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = part {
                all.extend(some);
            }
        }
        if all.len() == before {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no descriptors came"));
        }
    }
    Ok(all)
}

/// The user of the process at the other end.
pub fn peer_user(socket: &impl AsFd) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.uid.as_raw())
}

/// The user that this process runs as.
pub fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Listens at a name that only this network namespace knows, and that goes with the process.
///
/// Errors: another process listens there.
pub fn listen(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// Connects to whoever listens at `name`.
///
/// Errors: nobody does.
pub fn connect(name: &str) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn many_descriptors_arrive_in_order_and_open() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let pairs: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
        let sent: Vec<_> = pairs.iter().map(|(_, far)| far.as_fd()).collect();
        send(&ours, &sent).unwrap();
        let received = receive(&theirs, 300).unwrap();
        for ((mut near, _), (number, far)) in
            pairs.into_iter().zip(received.into_iter().enumerate())
        {
            UnixStream::from(far).write_all(&number.to_be_bytes()).unwrap();
            let mut heard = [0; 8];
            near.read_exact(&mut heard).unwrap();
            assert_eq!(usize::from_be_bytes(heard), number);
        }
        assert_eq!(peer_user(&ours).unwrap(), own_user());
    }

    #[test]
    fn a_byte_without_descriptors_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&ours).write_all(&[0]).unwrap();
        assert_eq!(receive(&theirs, 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(ours);
        assert_eq!(receive(&theirs, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_name_has_one_listener() {
        let name = format!("sluice/test/{}", std::process::id());
        let first = listen(&name).unwrap();
        assert_eq!(listen(&name).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let _stream = connect(&name).unwrap();
        drop(first);
        assert!(connect(&name).is_err());
    }
}
