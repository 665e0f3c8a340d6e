//! HTTP rules: each request goes to the member chosen for it.
//!
//! HTTP/1.1 with keep-alive and upgrades, HTTP/2 under TLS; members are spoken to in HTTP/1.1. Guarantees: what one client
//! sends never becomes part of another's request ([`framing`]); live changes hold from the next request on.

mod answers;
mod body;
pub mod cookie;
mod forward;
mod frames;
pub mod framing;
mod guard;
mod head;
mod headers;
mod http2;
mod member_io;
mod patience;
pub(super) mod pool;
mod sticky;
mod turn;
mod upgrade;
mod upstream;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use tracing::debug;

use body::ToClient;
use guard::{Declined, Guard};

use super::client_io::ClientIo;
use super::connect::Ends;
use super::park::{self, Warm};
use super::session::{Phase, Session};

/// What hyper buffers of a connection at most, in bytes; heads are bounded before.
const MAX_BUFFER: usize = 64 * 1024;

/// One client connection that speaks HTTP.
struct Client {
    session: Arc<Session>,
    ends: Ends,
    encrypted: bool,
    /// Requests come as streams, each in a task of its own: HTTP/2.
    streams: bool,
    /// The balanced port, as a header value.
    port: HeaderValue,
    declined: Arc<Declined>,
}

/// Serves `io` until either side is done or its time is over.
pub(super) async fn serve(io: ClientIo, ends: Ends, session: Arc<Session>) {
    let declined = Arc::<Declined>::default();
    let client = Client {
        session: Arc::clone(&session),
        ends,
        encrypted: io.plain().is_none(),
        streams: io.is_http2(),
        port: HeaderValue::from(ends.server.port()),
        declined: Arc::clone(&declined),
    };
    if io.is_http2() {
        Box::pin(http2::serve(io, client)).await;
    } else {
        serve_http1(Guard::new(io, session, declined), client).await;
    }
}

/// Serves one connection. hyper and its buffers are there from the first byte of a request until the connection has waited
/// for the next one for a while, or while others need the memory more; then it is parked.
async fn serve_http1(mut guard: Guard, client: Client) {
    let (session, ends) = (Arc::clone(&client.session), client.ends);
    let client = Arc::new(client);
    while guard.wakes().await {
        let warm = Warm::new();
        let keep_alive = session.rule.peek().spec.timeouts.keep_alive_seconds.get() > 0;
        let client = Arc::clone(&client);
        let service = service_fn(move |request: Request<Incoming>| {
            let client = Arc::clone(&client);
            async move { Ok::<_, Infallible>(respond(&client, request).await) }
        });
        let connection = http1::Builder::new()
            .half_close(true)
            .keep_alive(keep_alive)
            .auto_date_header(false)
            .max_buf_size(MAX_BUFFER)
            .serve_connection(guard, service)
            .with_upgrades();
        let mut connection = Box::new(connection);
        if !drive(&session, &mut connection).await {
            return;
        }
        let Some(parts) = connection.into_parts() else { return };
        guard = parts.io;
        guard.unread(&parts.read_buf);
        drop(warm);
        match guard.at_rest() {
            Ok(io) => return park::rest(io, ends, session),
            Err(busy) => guard = *busy,
        }
    }
    guard.close().await;
}

/// Drives a connection until it is over (`false`), or waits for its next request and is to be parked (`true`).
async fn drive(
    session: &Session,
    mut connection: impl Future<Output = hyper::Result<()>> + Unpin,
) -> bool {
    let driven = std::future::poll_fn(|cx| {
        let ended = session.poll_end(cx).is_ready();
        match session.phase() {
            // between requests, and within a head, the guard ends it in a way that the client understands
            Phase::Waiting | Phase::Head => {}
            _ if ended => return Poll::Ready(Ok(false)),
            _ => {}
        }
        if let Poll::Ready(done) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(done.map(|()| false));
        }
        let waits = session.phase() == Phase::Waiting && !ended && !session.owes();
        if waits && (session.quiet() || Warm::crowded()) {
            return Poll::Ready(Ok(true));
        }
        Poll::Pending
    });
    driven.await.unwrap_or_else(|error| {
        debug!(%error, rule = %session.rule.id, "http connection ended");
        false
    })
}

/// One request, and what follows from how it was answered.
async fn respond(client: &Client, request: Request<Incoming>) -> Response<ToClient> {
    let might_upgrade = request.headers().contains_key(UPGRADE);
    let answer = forward::forward(client, request).await;
    if might_upgrade && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        client.declined.say();
    }
    answer
}
