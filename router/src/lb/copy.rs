//! Bytes between a client and a member, both ways, until both have said all.
//!
//! Guarantees: order and every byte; an end of one direction is passed on while the other goes on; an idle connection
//! holds no buffer and no pipe. Each direction begins with plain copies through a buffer of the thread's, since most
//! connections are short, and long ones of plain TCP go on by splice(2).

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sluice_sys::splice::Pipe;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::client_io::ClientIo;

/// Bytes copied at once.
const BUFFER: usize = 64 * 1024;
/// Bytes in one direction after which splicing pays.
const LONG: u64 = 64 * 1024;
/// Room of a pipe.
const PIPE: usize = 512 * 1024;
/// Pipes of one thread; pipe memory is bounded per user (pipe(7)), and copying does without.
const PIPES: usize = 64;
/// Rounds before others get their turn.
const ROUNDS: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
    static FREE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
    static IN_USE: Cell<usize> = const { Cell::new(0) };
}

/// One direction.
#[derive(Default)]
pub(crate) struct Way {
    /// Read, not yet written; empty unless the receiver is slow.
    left: Vec<u8>,
    written: usize,
    pipe: Option<Lent>,
    moved: u64,
    unflushed: bool,
    ended: bool,
    done: bool,
}

/// Which side failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The sender.
    From,
    /// The receiver.
    To,
}

impl Way {
    /// A direction in which `first` was read already.
    pub(crate) fn beginning_with(first: Vec<u8>) -> Self {
        Self { left: first, ..Self::default() }
    }

    /// Moves what can be moved, telling `count` of each piece that was taken. Ready when the end was passed on.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Side,
        to: &mut impl Side,
        count: &mut impl FnMut(u64),
    ) -> Poll<Result<(), Failure>> {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..ROUNDS {
            ready!(self.poll_write_left(cx, to, count))?;
            ready!(self.poll_drain(cx, to, count))?;
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| Failure::To)?;
                self.done = true;
                return Poll::Ready(Ok(()));
            }
            let spliced = self.moved >= LONG
                && from.socket().is_some()
                && to.socket().is_some()
                && self.has_pipe();
            let read = if spliced {
                self.poll_fill(cx, from)
            } else {
                self.poll_copy(cx, from, to, count)
            };
            if read.is_pending() {
                self.pipe = None;
                if self.unflushed {
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|_| Failure::To)?;
                    self.unflushed = false;
                }
            }
            ready!(read)?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write_left<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
        count: &mut impl FnMut(u64),
    ) -> Poll<Result<(), Failure>> {
        while let Some(rest) = self.left.get(self.written..).filter(|rest| !rest.is_empty()) {
            let taken = ready!(Pin::new(&mut *to).poll_write(cx, rest)).map_err(|_| Failure::To)?;
            if taken == 0 {
                return Poll::Ready(Err(Failure::To));
            }
            self.written += taken;
            self.tell(taken, count);
        }
        (self.left, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    fn tell(&mut self, taken: usize, count: &mut impl FnMut(u64)) {
        let taken = u64::try_from(taken).unwrap_or(0);
        self.moved += taken;
        self.unflushed = true;
        count(taken);
    }

    /// Reads once into the thread's buffer and writes what the receiver takes at once; the rest is kept.
    fn poll_copy<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        count: &mut impl FnMut(u64),
    ) -> Poll<Result<(), Failure>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(from).poll_read(cx, &mut buffer)).map_err(|_| Failure::From)?;
            let read = buffer.filled();
            if read.is_empty() {
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            let taken = match Pin::new(to).poll_write(cx, read) {
                Poll::Ready(Ok(taken)) => taken,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Failure::To)),
                Poll::Pending => 0,
            };
            self.tell(taken, count);
            if let Some(rest) = read.get(taken..).filter(|rest| !rest.is_empty()) {
                self.left = rest.to_vec();
            }
            Poll::Ready(Ok(()))
        })
    }

    fn has_pipe(&mut self) -> bool {
        if self.pipe.is_none() {
            self.pipe = Lent::take();
        }
        self.pipe.is_some()
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl Side,
    ) -> Poll<Result<(), Failure>> {
        let (Some(Lent(Some(pipe))), Some(from)) = (&mut self.pipe, from.socket()) else {
            return Poll::Ready(Ok(()));
        };
        loop {
            ready!(from.poll_read_ready(cx)).map_err(|_| Failure::From)?;
            match from.try_io(Interest::READABLE, || pipe.fill(from)) {
                Ok(0) => {
                    self.ended = true;
                    return Poll::Ready(Ok(()));
                }
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(Failure::From)),
            }
        }
    }

    fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut impl Side,
        count: &mut impl FnMut(u64),
    ) -> Poll<Result<(), Failure>> {
        loop {
            let (Some(Lent(Some(pipe))), Some(to)) = (&mut self.pipe, to.socket()) else {
                return Poll::Ready(Ok(()));
            };
            if pipe.held() == 0 {
                return Poll::Ready(Ok(()));
            }
            ready!(to.poll_write_ready(cx)).map_err(|_| Failure::To)?;
            match to.try_io(Interest::WRITABLE, || pipe.drain(to)) {
                Ok(taken) => self.tell(taken, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(Failure::To)),
            }
        }
    }
}

/// A client or a member.
pub(crate) trait Side: AsyncRead + AsyncWrite + Unpin {
    /// The socket, if what is on the wire is what is meant.
    fn socket(&self) -> Option<&TcpStream>;
}

impl Side for ClientIo {
    fn socket(&self) -> Option<&TcpStream> {
        self.plain()
    }
}

impl Side for TcpStream {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// A pipe of the thread's, given back when it is not needed.
struct Lent(Option<Pipe>);

impl Lent {
    fn take() -> Option<Self> {
        if let Some(pipe) = FREE.with_borrow_mut(Vec::pop) {
            return Some(Self(Some(pipe)));
        }
        if IN_USE.get() >= PIPES {
            return None;
        }
        let pipe = Pipe::new(PIPE).ok()?;
        IN_USE.set(IN_USE.get() + 1);
        Some(Self(Some(pipe)))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        match self.0.take() {
            // what is on its way in it belongs to a connection that failed
            Some(pipe) if pipe.held() == 0 => FREE.with_borrow_mut(|free| free.push(pipe)),
            _ => IN_USE.set(IN_USE.get().saturating_sub(1)),
        }
    }
}
