//! HTTP/2 towards clients (RFC 9113): each stream is a request as any other.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::debug;

use super::body::ToClient;
use super::frames::Frames;
use super::{Client, forward};
use crate::lb::client_io::ClientIo;
use crate::lb::counters::add;
use crate::lb::session::{Phase, Session};

/// Requests of one connection at once.
const MAX_STREAMS: u32 = 100;
/// Header of one request, in bytes; as HTTP/1's.
const MAX_HEADER_LIST: u32 = 16 * 1024;

/// Serves `io` until either side is done or its time is over.
pub(crate) async fn serve(io: ClientIo, client: Client) {
    let session = Arc::clone(&client.session);
    session.enter(Phase::Waiting);
    let client = Arc::new(client);
    let requests = Arc::new(Requests { session: Arc::clone(&session), number: AtomicU32::new(0) });
    let service = service_fn(move |request: Request<Incoming>| {
        let client = Arc::clone(&client);
        let under_way = UnderWay::new(&requests);
        async move {
            let answer = forward::forward(&client, request).await;
            Ok::<_, Infallible>(answer.map(|body| Tracked { body, _under_way: under_way }))
        }
    });
    let io = TokioIo::new(SessionIo::new(io, Arc::clone(&session)));
    let connection = Builder::new(TokioExecutor::new())
        .auto_date_header(false)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let served = std::future::poll_fn(|cx| {
        if session.poll_end(cx).is_ready() {
            if session.phase() != Phase::Waiting {
                return Poll::Ready(Ok(()));
            }
            // says which requests were taken, so that the client knows which to send elsewhere (RFC 9113 6.8)
            connection.as_mut().graceful_shutdown();
            session.enter(Phase::Lingering);
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = served.await {
        debug!(%error, rule = %session.rule.id, "http/2 connection ended");
    }
}

/// The requests of one connection that are under way.
struct Requests {
    session: Arc<Session>,
    number: AtomicU32,
}

/// A request from its head to the end of its answer.
struct UnderWay(Arc<Requests>);

impl UnderWay {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.number.fetch_add(1, Relaxed);
        requests.session.enter(Phase::Busy);
        Self(Arc::clone(requests))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.number.fetch_sub(1, Relaxed) == 1 {
            self.0.session.enter(Phase::Waiting);
        }
    }
}

/// An answer's body, whose end is that of its request.
struct Tracked {
    body: ToClient,
    _under_way: UnderWay,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The connection: all bytes count, and those of requests and answers keep it alive. PING does not, so that a client that
/// only pings has no more time for an answer that it does not take than any other.
struct SessionIo {
    io: ClientIo,
    session: Arc<Session>,
    inward: Frames,
    outward: Frames,
}

impl SessionIo {
    fn new(io: ClientIo, session: Arc<Session>) -> Self {
        Self { io, session, inward: Frames::of_client(), outward: Frames::of_server() }
    }

    /// The first `taken` bytes of `slices` are sent.
    fn sent(&mut self, slices: &[io::IoSlice<'_>], taken: usize) {
        add(&self.session.rule.counters.bytes_out, u64::try_from(taken).unwrap_or(0));
        let mut left = taken;
        for slice in slices {
            let here = slice.get(..left).unwrap_or(slice);
            left -= here.len();
            if self.outward.follow(here) {
                self.session.touch();
            }
        }
    }
}

impl AsyncRead for SessionIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        add(&self.session.rule.counters.bytes_in, u64::try_from(bytes.len()).unwrap_or(0));
        if self.inward.follow(bytes) {
            self.session.touch();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SessionIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.sent(&[io::IoSlice::new(bytes)], taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        self.sent(slices, taken);
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
