//! One connection to a member that carries one request at a time.
//!
//! hyper's client connection is polled by whoever waits for its request, inside that task, and not in a task of its own:
//! a request then costs no hand-over between tasks. Between two requests nobody polls it; what happened to it meanwhile
//! is seen when it is taken again.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, Parts, SendRequest};
use hyper::{Request, Response};
use tokio::net::TcpStream;

use super::body::ToMember;
use super::member_io::MemberIo;
use super::pool::Key;
use crate::lb::live::MemberState;

/// Largest head of an answer, and what is buffered of its body, in bytes.
const MAX_BUFFER: usize = 64 * 1024;

/// A connection to a member.
pub(super) struct Upstream {
    sender: SendRequest<ToMember>,
    connection: Connection<MemberIo, ToMember>,
    over: bool,
    /// Whose it is.
    pub(super) member: Arc<MemberState>,
    /// Which requests it may carry.
    pub(super) key: Key,
    /// It has carried a request before.
    pub(super) used: bool,
}

/// Why there is no answer.
pub(super) struct Failed {
    /// What hyper says.
    pub(super) error: hyper::Error,
    /// The request, if not a byte of it left.
    pub(super) unsent: Option<Request<ToMember>>,
}

impl Upstream {
    /// Speaks HTTP over `stream`, which is connected to `member`.
    pub(super) async fn new(
        stream: TcpStream,
        member: Arc<MemberState>,
        key: Key,
    ) -> hyper::Result<Self> {
        let io = MemberIo::new(stream, Arc::clone(&member));
        let (sender, connection) = Builder::new().max_buf_size(MAX_BUFFER).handshake(io).await?;
        Ok(Self { sender, connection, over: false, member, key, used: false })
    }

    /// Moves what can be moved.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        if !self.over {
            // how it ended is told to whoever waits for the answer or its body
            self.over = self.connection.poll_without_shutdown(cx).is_ready();
        }
    }

    /// Whether the next request may be sent, as far as is known.
    pub(super) fn is_ready(&mut self) -> bool {
        self.poll(&mut Context::from_waker(Waker::noop()));
        !self.over && self.sender.is_ready()
    }

    /// Sends `request`; ready with the head of its answer.
    pub(super) async fn ask(
        &mut self,
        request: Request<ToMember>,
    ) -> Result<Response<Incoming>, Failed> {
        self.used = true;
        let mut answer = pin!(self.sender.try_send_request(request));
        let (over, connection) = (&mut self.over, &mut self.connection);
        std::future::poll_fn(|cx| {
            if !*over {
                *over = connection.poll_without_shutdown(cx).is_ready();
            }
            // the answer comes through the connection alone, which was just polled: it needs to wake nobody
            let mut still = Context::from_waker(Waker::noop());
            answer.as_mut().poll(&mut still)
        })
        .await
        .map_err(|mut failure| {
            let unsent = failure.take_message();
            Failed { error: failure.into_error(), unsent }
        })
    }

    /// Runs the connection to the end of its HTTP, which an upgrade is: what is beneath, with what was read of it.
    pub(super) async fn finish(mut self) -> (TcpStream, Vec<u8>) {
        std::future::poll_fn(|cx| {
            self.poll(cx);
            if self.over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let Parts { io, read_buf, .. } = self.connection.into_parts();
        (io.into_inner(), read_buf.to_vec())
    }
}
