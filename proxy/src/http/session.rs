//! `POST session`: a link's token, a grant's id with its cookie, or a pass from another proxy, for leave to open the
//! WebSocket.

use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use sluice_api::types::ObjectId;
use tokio::time::timeout;
use tracing::info;

use super::answers::{json, refuse, refuse_towards};
use super::names::Names;
use super::{Peer, Shared};
use crate::grants::{Asker, BrowserId, Browsers, Refusal, unix_now};
use crate::slice::Grant;
use crate::values::Origin;

/// Longest request.
const MAX_BODY: usize = 4096;
/// Time for the whole of it: whoever sends slowly holds one of the places for connections.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the page asks.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Ask {
    /// By a page that does not say which browser it is in.
    Token(String),
    Link {
        token: String,
        /// Which browser it is: see [`BrowserId::by`].
        browser: String,
    },
    Grant(ObjectId),
    /// What the browser got at another proxy that has the same key.
    Pass {
        grant: ObjectId,
        value: String,
    },
}

impl Ask {
    /// The token that it shows, if it does.
    fn token(&self) -> Option<&str> {
        match self {
            Self::Token(token) | Self::Link { token, .. } => Some(token),
            Self::Grant(_) | Self::Pass { .. } => None,
        }
    }
}

/// What the page is told.
#[derive(Serialize)]
struct Leave<'a> {
    grant: &'a ObjectId,
    vm: &'a str,
    view_only: bool,
    expires: u64,
    /// Where the WebSocket is, relative to the page.
    screen: String,
    /// By what the browser is known at the other proxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<String>,
    /// Where they are.
    peers: Vec<&'a str>,
}

/// Answers the request.
pub(super) async fn answer(
    shared: &Shared,
    peer: Peer,
    request: Request<Incoming>,
) -> Response<Body> {
    let headers = request.headers().clone();
    if !shared.names().may_ask(&headers, peer.tls) {
        return refuse(Refusal::Origin);
    }
    let from = shared.asker(peer, &headers, None).from;
    let Some(ask) = read(request).await else { return refuse(Refusal::Malformed) };
    // whoever is known by a cookie or a pass guesses nothing, though somebody behind the same address may
    if ask.token().is_some() && shared.guesses.too_many(from, Instant::now()) {
        return refuse(Refusal::TooManyTries);
    }
    let admitted = match &ask {
        Ask::Token(token) => by_token(shared, peer, &headers, token, BrowserId::new()),
        Ask::Link { token, browser } => match BrowserId::by(browser) {
            Some(browser) => by_token(shared, peer, &headers, token, browser),
            None => Err(Refusal::Malformed),
        },
        Ask::Grant(id) => {
            let asker = shared.asker(peer, &headers, Some(id));
            shared.registry.admit(id, asker, None)
        }
        Ask::Pass { grant, value } => {
            let browser = shared.browsers.load().read(grant, value);
            let asker = Asker { browser, ..shared.asker(peer, &headers, None) };
            shared.registry.admit(grant, asker, None)
        }
    };
    match admitted {
        Ok((grant, browser)) => {
            let secure = Names::by_tls(&headers, peer.tls);
            leave(shared, secure, &grant, browser)
        }
        Err(refusal) => {
            if refusal == Refusal::Unknown {
                shared.guesses.wrong(from, Instant::now());
            }
            info!(%from, code = refusal.code(), "console refused");
            refuse_towards(refusal, home(shared, &ask, refusal))
        }
    }
}

/// Where a link leads that was shown to the wrong proxy.
fn home(shared: &Shared, ask: &Ask, refusal: Refusal) -> Option<Origin> {
    let token = ask.token().filter(|_| refusal == Refusal::Elsewhere)?;
    shared.registry.home(&shared.registry.named_by(token).ok()?)
}

/// Which browser asks is only known once the token says which grant's cookie counts.
fn by_token(
    shared: &Shared,
    peer: Peer,
    headers: &axum::http::HeaderMap,
    token: &str,
    browser: BrowserId,
) -> Result<(std::sync::Arc<Grant>, BrowserId), Refusal> {
    let id = shared.registry.named_by(token)?;
    let asker = shared.asker(peer, headers, Some(&id));
    shared.registry.admit(&id, asker, Some(browser))
}

async fn read(request: Request<Incoming>) -> Option<Ask> {
    let kind = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return None;
    }
    let body = to_bytes(Body::new(request.into_body()), MAX_BODY);
    let body = timeout(PATIENCE, body).await.ok()?.ok()?;
    serde_json::from_slice(&body).ok()
}

fn leave(shared: &Shared, secure: bool, grant: &Grant, browser: BrowserId) -> Response<Body> {
    let names = shared.names();
    let pass = || shared.browsers.load().value(&grant.id, browser);
    let leave = Leave {
        grant: &grant.id,
        vm: &grant.vm.name,
        view_only: grant.view_only,
        expires: grant.expires,
        screen: format!("screen/{}", grant.id),
        pass: (!names.peers().is_empty()).then(pass),
        peers: names.peers().iter().map(Origin::as_str).collect(),
    };
    let mut response = json(StatusCode::OK, &leave);
    if let Ok(cookie) = HeaderValue::try_from(cookie(shared, secure, grant, browser)) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Without a path of its own it counts for the page's folder, whatever a reverse proxy calls that.
fn cookie(shared: &Shared, secure: bool, grant: &Grant, browser: BrowserId) -> String {
    let (name, value) =
        (Browsers::name(&grant.id), shared.browsers.load().value(&grant.id, browser));
    let age = grant.expires.saturating_sub(unix_now());
    let site = match (shared.names().may_be_framed(), secure) {
        // in another site's frame a strict cookie would not be sent
        (true, true) => "SameSite=None; Secure; Partitioned",
        (false, true) => "SameSite=Strict; Secure",
        (_, false) => "SameSite=Strict",
    };
    format!("{name}={value}; Max-Age={age}; HttpOnly; {site}")
}
