//! Listening sockets of a service that its agent keeps copies of, so that a crash of the service refuses nobody: they
//! queue connections until the next process has them.
//!
//! Guarantees: the agent asks over a socket of root's; a service that does not answer, or sends what is no listening
//! socket, keeps nobody waiting longer than [`PATIENCE`] and leaves nothing in the agent. Which address a socket listens on
//! says the socket itself.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use sluice_sys::hand_over;
use sluice_sys::process::take_handed;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// Name of the socket, given at the start, where a service is asked.
pub(crate) const KEEPER: &str = "keeper";
/// Name of the sockets, given at the start, that the process before listened on.
pub(crate) const KEPT: &str = "kept";
/// Most that are kept of one service; further ones are lost in a crash.
pub(crate) const MOST: usize = 4096;
/// How long the other end may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The sockets that the process before this one listened on when it ended: each has been queueing connections since.
/// Another call gives none. What is not put to use must be dropped: somebody may wait there.
pub fn kept() -> Vec<OwnedFd> {
    take_handed(KEPT)
}

/// The service's side: gives copies of `sockets` to whoever connected.
pub(super) fn give(agent: UnixStream, sockets: &[OwnedFd]) -> io::Result<()> {
    agent.set_nonblocking(false)?;
    agent.set_write_timeout(Some(PATIENCE))?;
    let some = sockets.get(..MOST).unwrap_or(sockets);
    let count = u32::try_from(some.len()).unwrap_or(u32::MAX);
    (&agent).write_all(&count.to_be_bytes())?;
    let borrowed: Vec<_> = some.iter().map(OwnedFd::as_fd).collect();
    hand_over::send(&agent, &borrowed)
}

/// The agent's side: copies of what the service that listens at `path` listens on. This blocks.
///
/// Errors: it does not answer in time, or sends something else.
pub(crate) fn fetch(path: &Path) -> io::Result<Vec<OwnedFd>> {
    // one that accepts nobody has a full queue at some time, where a connection would wait for ever
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    let service = UnixStream::from(OwnedFd::from(socket));
    service.set_nonblocking(false)?;
    service.set_read_timeout(Some(PATIENCE))?;
    let mut count = [0; 4];
    (&service).read_exact(&mut count)?;
    let count = usize::try_from(u32::from_be_bytes(count)).unwrap_or(usize::MAX);
    if count > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more sockets than are kept"));
    }
    let sockets = hand_over::receive(&service, count)?;
    if sockets.len() > MOST || !sockets.iter().all(listens) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not all are listening sockets"));
    }
    Ok(sockets)
}

/// Whether it accepts TCP connections.
fn listens(socket: &OwnedFd) -> bool {
    let socket = SockRef::from(socket);
    let internet = socket.domain().is_ok_and(|of| of == Domain::IPV4 || of == Domain::IPV6);
    internet && socket.is_listener().is_ok_and(|is| is)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// What is fetched from a service that does `serve` with the agent's connection.
    fn fetched(serve: impl FnOnce(UnixStream) + Send + 'static) -> io::Result<Vec<OwnedFd>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keeper");
        let listener = UnixListener::bind(&path).unwrap();
        let service = thread::spawn(move || serve(listener.accept().unwrap().0));
        let fetched = fetch(&path);
        service.join().unwrap();
        fetched
    }

    #[test]
    fn a_copy_queues_connections_when_the_service_is_gone() {
        let listeners: Vec<_> =
            (0..300).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let at: Vec<_> = listeners.iter().map(|it| it.local_addr().unwrap()).collect();
        let sockets: Vec<OwnedFd> = listeners.into_iter().map(Into::into).collect();
        let kept = fetched(move |agent| give(agent, &sockets).unwrap()).unwrap();
        let waiting = TcpStream::connect(at[299]).unwrap();
        let next: Vec<_> = kept.into_iter().map(TcpListener::from).collect();
        assert_eq!(next.iter().map(|it| it.local_addr().unwrap()).collect::<Vec<_>>(), at);
        assert_eq!(next[299].accept().unwrap().1, waiting.local_addr().unwrap());
        drop(next);
        assert!(TcpStream::connect(at[299]).is_err());
    }

    #[test]
    fn nothing_but_listening_sockets_is_kept() {
        let (near, far) = UnixStream::pair().unwrap();
        let pair = [OwnedFd::from(near), OwnedFd::from(far)];
        assert!(fetched(move |agent| give(agent, &pair).unwrap()).is_err());
        let datagrams = [OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap())];
        assert!(fetched(move |agent| give(agent, &datagrams).unwrap()).is_err());
        let boast = |mut agent: UnixStream| agent.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert!(fetched(boast).is_err());
        let promise = |mut agent: UnixStream| agent.write_all(&1_u32.to_be_bytes()).unwrap();
        assert!(fetched(promise).is_err());
        assert!(fetched(drop).is_err());
        assert!(fetched(|agent| give(agent, &[]).unwrap()).unwrap().is_empty());
        assert!(fetch(Path::new("/nonexistent")).is_err());
    }
}
