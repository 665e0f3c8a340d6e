//! The client's side of an HTTP/1 connection as hyper sees it: only requests that are framed without doubt.
//!
//! Guarantees: a head reaches hyper whole and judged, or not at all; after one that is refused hyper sees the stream's end,
//! answers what came before, and then the refusal is sent from here. An early close does not take the answer away: what
//! the client still sends is read for a moment (RFC 9112 9.6). Tells the session what the connection is doing.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{Framing, Refusal, Verdict};
use super::turn::{self, Turn};
use crate::lb::client_io::ClientIo;
use crate::lb::counters::add;
use crate::lb::session::{Phase, Session};

/// Read at once; larger than a head may be, so that most requests are read in one go.
const BUFFER: usize = 32 * 1024;
/// Thrown away at most after an early answer.
const DRAINED: usize = 256 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// What the answering side tells the reading side: the upgrade that was asked for does not happen.
///
/// When it does happen, hyper gives the connection up, and nobody reads it as HTTP again.
#[derive(Debug, Default)]
pub(crate) struct Declined {
    said: AtomicBool,
    waker: AtomicWaker,
}

impl Declined {
    /// The connection goes on as HTTP.
    pub(crate) fn say(&self) {
        self.said.store(true, Relaxed);
        self.waker.wake();
    }
}

/// A client's connection between the wire and hyper.
pub(crate) struct Guard {
    io: ClientIo,
    session: Arc<Session>,
    declined: Arc<Declined>,
    framing: Framing,
    /// Read from the wire, not yet given to hyper.
    read: BytesMut,
    /// Of these, how many bytes are judged good.
    good: usize,
    /// For hyper the stream ends here.
    ended: bool,
    /// The wire's own end was read.
    at_end: bool,
    refused: bool,
    /// The refusal, as far as it is not sent.
    farewell: Bytes,
    shut: bool,
    drained: usize,
    turn: Turn,
}

impl Guard {
    /// Guards `io`.
    pub(crate) fn new(io: ClientIo, session: Arc<Session>, declined: Arc<Declined>) -> Self {
        Self {
            io,
            session,
            declined,
            framing: Framing::default(),
            read: BytesMut::new(),
            good: 0,
            ended: false,
            at_end: false,
            refused: false,
            farewell: Bytes::new(),
            shut: false,
            drained: 0,
            turn: Turn::default(),
        }
    }

    /// The connection, with what was read of it and not given on.
    pub(crate) fn into_parts(self) -> (ClientIo, BytesMut) {
        (self.io, self.read)
    }

    /// The connection, if it is between two requests, and nothing of it is read or to be sent.
    pub(super) fn at_rest(self) -> Result<ClientIo, Box<Self>> {
        let rests = self.framing.between() && self.read.is_empty() && !self.session.owes();
        if rests && !self.ended && !self.shut { Ok(self.io) } else { Err(Box::new(self)) }
    }

    /// Waits for the first byte of a request; false when there will be none.
    pub(super) async fn wakes(&mut self) -> bool {
        std::future::poll_fn(|cx| {
            self.tell_phase();
            if !self.read.is_empty() {
                return Poll::Ready(true);
            }
            if self.session.poll_end(cx).is_ready() {
                return Poll::Ready(false);
            }
            self.poll_wire(cx).map(|read| read.is_ok_and(|bytes| bytes > 0))
        })
        .await
    }

    /// Takes back what was given and not used: judged already, and before all else.
    pub(super) fn unread(&mut self, given: &[u8]) {
        if !given.is_empty() {
            self.read = BytesMut::from([given, self.read.as_ref()].concat().as_slice());
            self.good += given.len();
        }
    }

    /// Ends the connection as its protocol has it.
    pub(super) async fn close(mut self) {
        // a client that is gone cannot be told
        let _gone = std::future::poll_fn(|cx| Pin::new(&mut self).poll_shutdown(cx)).await;
    }

    /// Gives hyper what is good; false when nothing is.
    fn give(&mut self, cursor: &mut ReadBufCursor<'_>) -> bool {
        let length = self.good.min(cursor.remaining()).min(self.read.len());
        let Some(bytes) = self.read.get(..length).filter(|bytes| !bytes.is_empty()) else {
            return false;
        };
        cursor.put_slice(bytes);
        self.read.advance(length);
        self.good -= length;
        if self.read.is_empty() {
            // an idle connection holds no buffer
            self.read = BytesMut::new();
        }
        true
    }

    /// Judges what is read; true when some of it may be given on.
    fn judge(&mut self) -> io::Result<bool> {
        let head = self.framing.between();
        match self.framing.judge(&mut self.read) {
            Verdict::Pass(length) => {
                self.good = length;
                if head {
                    self.session.enter(Phase::Busy);
                    self.declined.said.store(false, Relaxed);
                }
                Ok(true)
            }
            Verdict::More => Ok(false),
            Verdict::Refuse(refusal) if head => {
                self.refuse(refusal);
                Ok(false)
            }
            Verdict::Refuse(_) => {
                add(&self.session.rule.counters.request_errors, 1);
                Err(io::Error::new(io::ErrorKind::InvalidData, "a chunked body is malformed"))
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        add(&self.session.rule.counters.request_errors, 1);
        let (status, reason) = refusal.status();
        self.session.rule.counters.answer(status);
        self.refused = true;
        self.ended = true;
        let text =
            format!("HTTP/1.1 {status} {reason}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        self.farewell = Bytes::from(text);
    }

    /// Tells the session whether the client is between requests or within a head.
    fn tell_phase(&self) {
        if !self.framing.between() {
            return;
        }
        if !self.read.is_empty() {
            self.session.enter(Phase::Head);
        } else if self.session.phase() != Phase::Opening {
            self.session.enter(Phase::Waiting);
        }
    }

    /// While an upgrade is asked for, nothing more is read; ready when it was declined, or none was asked for.
    fn poll_http(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.framing.held() {
            return Poll::Ready(());
        }
        self.declined.waker.register(cx.waker());
        if !self.declined.said.swap(false, Relaxed) {
            return Poll::Pending;
        }
        self.framing.release();
        Poll::Ready(())
    }

    /// Whether the client had its time: it is told so if it has begun to speak.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.framing.between() {
            return Poll::Pending;
        }
        ready!(self.session.poll_end(cx));
        if self.session.phase() == Phase::Head {
            self.refuse(Refusal::TooSlow);
        }
        self.ended = true;
        Poll::Ready(())
    }

    /// Reads once from the wire; ready with 0 at the end.
    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            self.at_end = bytes.is_empty();
            self.read.extend_from_slice(bytes);
            self.turn.heard();
            add(&self.session.rule.counters.bytes_in, u64::try_from(bytes.len()).unwrap_or(0));
            self.session.touch();
            Poll::Ready(Ok(bytes.len()))
        })
    }

    /// Sends the refusal, if there is one.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.farewell.is_empty() {
            let taken = ready!(Pin::new(&mut self.io).poll_write(cx, &self.farewell))?;
            self.sent(taken);
            self.farewell.advance(taken);
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn sent(&self, bytes: usize) {
        add(&self.session.rule.counters.bytes_out, u64::try_from(bytes).unwrap_or(0));
        self.session.touch();
    }

    /// Reads what the client still sends, and throws it away.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.session.enter(Phase::Lingering);
        while self.drained < DRAINED {
            self.read.clear();
            match ready!(self.poll_wire(cx)) {
                Ok(0) | Err(_) => break,
                Ok(more) => self.drained += more,
            }
        }
        Poll::Ready(())
    }
}

impl Read for Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.ended || this.give(&mut cursor) {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_http(cx));
            if this.judge()? || this.ended {
                continue;
            }
            this.tell_phase();
            if this.poll_end(cx).is_ready() {
                continue;
            }
            if ready!(this.poll_wire(cx))? == 0 {
                this.ended = true;
            }
        }
    }
}

impl Write for Guard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.session.set_owes(true);
        ready!(self.turn.poll(cx));
        let taken = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.sent(taken);
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
        self.session.set_owes(true);
        ready!(self.turn.poll(cx));
        let taken = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        self.sent(taken);
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes what is beneath once it has nothing left to write itself.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.session.set_owes(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.shut {
            ready!(this.poll_farewell(cx))?;
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            this.shut = true;
        }
        let unread = this.refused || !this.framing.between();
        if unread && !this.at_end {
            ready!(this.poll_drained(cx));
        }
        Poll::Ready(Ok(()))
    }
}
