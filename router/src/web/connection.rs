//! One connection, from its first byte to its end.
//!
//! Guarantees: a head of at most [`HEAD_BYTES`] within [`HEAD_TIME`], the whole connection within [`TIME`]; bodies are not
//! read; who the caller is is asked anew for each request, since addresses move.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use sluice_api::types::LinkName;
use sluice_sys::neighbour::Neighbours;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::counters::{Counters, bump};
use super::seats::{Seat, Seats};
use super::{Answer, Ask, Caller, Site, Stranger};
use crate::budget::Budget;

/// Most bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// Most headers.
const HEADERS: usize = 64;
/// Time for a whole head, the wait for a further request included.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Time for a whole connection: a megabyte over a poor link.
const TIME: Duration = Duration::from_mins(1);

/// What all connections share.
pub(super) struct Shared<S> {
    pub(super) site: S,
    pub(super) counters: Counters,
    pub(super) seats: Arc<Seats>,
    neighbours: Neighbours,
    log: Mutex<Budget>,
    start: Instant,
}

impl<S: Site> Shared<S> {
    pub(super) fn new(site: S) -> std::io::Result<Self> {
        Ok(Self {
            site,
            counters: Counters::default(),
            seats: Arc::default(),
            neighbours: Neighbours::open()?,
            log: Mutex::default(),
            start: Instant::now(),
        })
    }

    fn caller<'a>(&self, link: &'a LinkName, address: Ipv4Addr) -> Caller<'a> {
        // a device that is gone has no neighbours
        let mac = self.neighbours.mac_of(link, address).unwrap_or(None);
        Caller { link, address, mac }
    }

    /// A seat for a caller that is a guest.
    pub(super) fn admit(&self, link: &LinkName, address: Ipv4Addr) -> Option<Seat> {
        let caller = self.caller(link, address);
        if let Err(stranger) = self.site.admits(&caller) {
            self.stranger(&caller, stranger);
            return None;
        }
        let (seat, evicted) = self.seats.take((link.clone(), address));
        bump(&self.counters.connections);
        if evicted {
            bump(&self.counters.evicted);
        }
        Some(seat)
    }

    fn answer(&self, link: &LinkName, address: Ipv4Addr, request: &Request<Incoming>) -> Answer {
        let caller = self.caller(link, address);
        let ask = Ask {
            method: request.method(),
            path: request.uri().path(),
            headers: request.headers(),
        };
        let answer = self.site.answer(&caller, &ask).unwrap_or_else(|stranger| {
            self.stranger(&caller, stranger);
            Answer::refusal(StatusCode::FORBIDDEN, "not a guest of this network\n")
        });
        bump(match answer.status {
            status if status.is_success() => &self.counters.served,
            StatusCode::NOT_FOUND => &self.counters.not_found,
            _ => &self.counters.refused,
        });
        answer
    }

    fn stranger(&self, caller: &Caller<'_>, stranger: Stranger) {
        bump(match stranger {
            Stranger::Address => &self.counters.strangers_address,
            Stranger::Mac => &self.counters.strangers_mac,
        });
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(suppressed) = log.take(self.start.elapsed()) else { return };
        let Caller { link, address, mac } = caller;
        warn!(
            service = S::NAME, %link, %address, ?mac, why = ?stranger, suppressed,
            "not a guest: not answered"
        );
    }
}

/// Serves `stream` until it ends, takes too long, or its seat is needed.
pub(super) async fn serve<S: Site>(
    stream: TcpStream,
    link: LinkName,
    address: Ipv4Addr,
    shared: Arc<Shared<S>>,
    seat: Seat,
) {
    let answering = service_fn(|request: Request<Incoming>| {
        let answer = shared.answer(&link, address, &request);
        std::future::ready(Ok::<_, Infallible>(response(answer)))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), answering);
    tokio::select! {
        ended = timeout(TIME, connection) => {
            if !matches!(ended, Ok(Ok(()))) {
                bump(&shared.counters.broken);
                debug!(service = S::NAME, %link, %address, ?ended, "connection broken");
            }
        }
        () = seat.evicted() => {}
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.media));
    // secrets and things that change: nobody between us and the guest is to keep them
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some((name, value)) = answer.header
        && let Ok(value) = HeaderValue::from_str(&value)
    {
        headers.insert(name, value);
    }
    response
}
