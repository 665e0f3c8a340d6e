//! `GET screen/GRANT`: the WebSocket, for a browser with the grant's cookie.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, WebSocketUpgrade};
use axum::http::{Request, Response};
use hyper::body::Incoming;
use sluice_api::types::ObjectId;
use tracing::info;

use super::answers::refuse;
use super::{Peer, Shared};
use crate::grants::Refusal;
use crate::session::{self, MAX_MESSAGE};

/// Bytes read from a browser at once, and held for as long as its session.
const READ_BUFFER: usize = 8 * 1024;

/// Answers the request: by a session, or by why there is none.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    peer: Peer,
    grant: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let (mut parts, _) = request.into_parts();
    if !shared.names().may_ask(&parts.headers, peer.tls) {
        return refuse(Refusal::Origin);
    }
    let Ok(grant) = grant.parse::<ObjectId>() else { return refuse(Refusal::Malformed) };
    let asker = shared.asker(peer, &parts.headers, Some(&grant));
    // before the session, so that a request that is none takes no place
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await else {
        return refuse(Refusal::Malformed);
    };
    let manager = shared.manager.clone();
    match shared.registry.sit(&grant, asker) {
        Ok(seat) => upgrade
            .max_message_size(MAX_MESSAGE)
            .max_frame_size(MAX_MESSAGE)
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .on_upgrade(move |socket| session::run(socket, seat, manager)),
        Err(refusal) => {
            info!(from = %asker.from, %grant, code = refusal.code(), "console refused");
            refuse(refusal)
        }
    }
}
