//! From HTTP/1.1 to another protocol (RFC 9110 7.8), such as WebSocket: after 101 bytes go both ways as in a TCP rule.

use std::sync::Arc;

use hyper::Response;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use tracing::debug;

use super::body::ToClient;
use super::guard::Guard;
use super::upstream::Upstream;
use super::{Client, headers};
use crate::lb::client_io::ClientIo;
use crate::lb::live::Seat;
use crate::lb::session::Phase;
use crate::lb::tcp;

/// The answer 101 for the client; the tunnel begins when it was sent.
pub(crate) fn begin(
    client: &Client,
    upgrade: OnUpgrade,
    mut answer: Response<Incoming>,
    upstream: Box<Upstream>,
    seat: Seat,
) -> Response<ToClient> {
    headers::for_client(answer.headers_mut(), true);
    let session = Arc::clone(&client.session);
    tokio::spawn(async move {
        let (member, first_out) = upstream.finish().await;
        match upgrade.await.map(of_client) {
            Ok(Some((client, first_in))) => {
                session.enter(Phase::Flow);
                let counters = &seat.member().counters;
                tcp::carry_on(client, member, [first_in, first_out], counters, &session).await;
            }
            Ok(None) => debug!("no upgrade of a connection that is not ours"),
            Err(error) => debug!(%error, "no upgrade"),
        }
    });
    answer.map(|_| ToClient::Empty)
}

fn of_client(upgraded: Upgraded) -> Option<(ClientIo, Vec<u8>)> {
    let Parts { io, read_buf, .. } = upgraded.downcast::<Guard>().ok()?;
    let (io, read) = io.into_parts();
    Some((io, [read_buf.as_ref(), read.as_ref()].concat()))
}
