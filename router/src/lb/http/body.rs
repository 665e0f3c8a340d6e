//! Bodies: a client's on its way to a member, and a member's on its way to a client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::pool;
use super::upstream::Upstream;
use crate::lb::counters::add;
use crate::lb::live::Seat;
use crate::lb::session::Session;

/// The body of a request to a member.
pub(super) enum ToMember {
    /// None: the request can be told twice.
    Empty,
    /// As the client sends it.
    Client(Incoming),
}

impl Body for ToMember {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Client(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(body) => body.size_hint(),
        }
    }
}

/// The body of an answer to a client.
pub(crate) enum ToClient {
    /// None.
    Empty,
    /// A few words of the balancer's own.
    Words(Bytes),
    /// As the member sends it.
    Member(Box<FromMember>),
}

/// An answer's body together with the connection that it comes over, and the seat that it takes.
pub(crate) struct FromMember {
    body: Incoming,
    upstream: Option<Box<Upstream>>,
    seat: Seat,
    whole: bool,
    session: Arc<Session>,
    /// What went wrong, until the client has what came before it: hyper forgets what it has not sent when it hears of it.
    broken: Option<hyper::Error>,
}

impl ToClient {
    /// `body`, which comes over `upstream` for the client of `session`.
    pub(crate) fn of(
        body: Incoming,
        upstream: Box<Upstream>,
        seat: Seat,
        session: &Arc<Session>,
    ) -> Self {
        let whole = body.is_end_stream();
        let (upstream, session) = (Some(upstream), Arc::clone(session));
        let from = FromMember { body, upstream, seat, whole, session, broken: None };
        // what is whole already gives its connection back at once
        if whole { Self::Empty } else { Self::Member(Box::new(from)) }
    }
}

impl FromMember {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if self.broken.is_some() && self.session.owes() {
            self.session.break_off();
            return Poll::Pending;
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(upstream) = &mut self.upstream {
            upstream.poll(cx);
        }
        // pieces come through the connection alone, which was just polled: they need to wake nobody
        let mut still = Context::from_waker(Waker::noop());
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(&mut still));
        match frame {
            Some(Ok(ref frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let counters = &self.seat.member().counters;
                add(&counters.bytes_out, u64::try_from(bytes).unwrap_or(0));
                self.whole = self.body.is_end_stream();
            }
            Some(Err(error)) => {
                add(&self.seat.member().counters.response_errors, 1);
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => self.whole = true,
        }
        Poll::Ready(frame)
    }
}

impl Drop for FromMember {
    fn drop(&mut self) {
        if let Some(upstream) = self.upstream.take()
            && self.whole
        {
            pool::give_back(upstream);
        }
    }
}

impl Body for ToClient {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Words(words) if words.is_empty() => Poll::Ready(None),
            Self::Words(words) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(words))))),
            Self::Member(from) => from.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Words(words) => words.is_empty(),
            Self::Member(from) => from.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Words(words) => SizeHint::with_exact(u64::try_from(words.len()).unwrap_or(0)),
            Self::Member(from) => from.body.size_hint(),
        }
    }
}
