//! A member's connection as hyper sees it, with its bytes counted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::turn::{self, Turn};

use crate::lb::counters::add;
use crate::lb::live::MemberState;

/// A connection to a member.
pub(crate) struct MemberIo {
    io: TokioIo<TcpStream>,
    member: Arc<MemberState>,
    turn: Turn,
}

impl MemberIo {
    /// Counts what passes over `stream` for `member`.
    pub(crate) fn new(stream: TcpStream, member: Arc<MemberState>) -> Self {
        Self { io: TokioIo::new(stream), member, turn: Turn::default() }
    }

    /// The connection beneath.
    pub(crate) fn into_inner(self) -> TcpStream {
        self.io.into_inner()
    }
}

impl Read for MemberIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // bytes are counted where they leave for the client
        ready!(Pin::new(&mut self.io).poll_read(cx, cursor))?;
        self.turn.heard();
        Poll::Ready(Ok(()))
    }
}

impl Write for MemberIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.turn.poll(cx));
        let taken = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        add(&self.member.counters.bytes_in, u64::try_from(taken).unwrap_or(0));
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(bytes) = turn::joined(slices, &mut [0; turn::SMALL]) {
            return self.poll_write(cx, bytes);
        }
        ready!(self.turn.poll(cx));
        let taken = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        add(&self.member.counters.bytes_in, u64::try_from(taken).unwrap_or(0));
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
