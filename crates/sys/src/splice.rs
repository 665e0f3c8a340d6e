//! Bytes from one socket to another without a copy through the process: splice(2) through a pipe.
//!
//! Guarantees: never blocks; a pipe is filled only when it is empty, so `WouldBlock` from [`Pipe::fill`] says that the
//! socket has nothing, and from [`Pipe::drain`] that the socket takes nothing. Not here: waiting for readiness.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// A pipe with what is on its way.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    room: usize,
    held: usize,
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

impl Pipe {
    /// A pipe with room for about `bytes`, or for what the kernel grants this user, which is never less than a page.
    ///
    /// Errors: no descriptors are left, or no pipe memory for this user.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        fcntl_setpipe_size(&writer, bytes)?;
        Ok(Self { reader, writer, room: bytes, held: 0 })
    }

    /// Bytes on their way.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes what waits at `from`; answers how much, 0 at the stream's end. Does nothing while something is held.
    ///
    /// Errors: the socket's, and `WouldBlock` when nothing waits.
    pub fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        if self.held > 0 {
            return Ok(self.held);
        }
        self.held = splice(from, None, &self.writer, None, self.room, FLAGS)?;
        Ok(self.held)
    }

    /// Gives what is held to `to`; answers how much it took.
    ///
    /// Errors: the socket's, and `WouldBlock` when it takes nothing.
    pub fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        if self.held == 0 {
            return Ok(0);
        }
        let taken = splice(&self.reader, None, to, None, self.held, FLAGS)?;
        self.held -= taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn bytes_pass_in_order_and_the_end_is_seen() {
        let ((mut source, from), (mut sink, to)) = (connected(), connected());
        from.set_nonblocking(true).unwrap();
        let mut pipe = Pipe::new(1 << 16).unwrap();
        let nothing = pipe.fill(&from).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        source.write_all(b"over the pipe").unwrap();
        drop(source);
        from.set_nonblocking(false).unwrap();
        assert_eq!(pipe.fill(&from).unwrap(), 13);
        assert_eq!(pipe.fill(&from).unwrap(), 13, "a pipe that holds something is not filled");
        assert_eq!((pipe.drain(&to).unwrap(), pipe.held()), (13, 0));
        assert_eq!(pipe.fill(&from).unwrap(), 0);
        drop(to);
        let mut text = String::new();
        sink.read_to_string(&mut text).unwrap();
        assert_eq!(text, "over the pipe");
    }
}
