//! What browsers talk to: the page, the exchange of a link's token for a cookie, and the WebSocket.
//!
//! Guarantees: nothing behind the page is done for a host name, an origin or a browser that is not allowed; every answer
//! carries the headers that keep other sites out; a token is taken in a request's body alone, so it is in no log and no
//! `Referer`.

mod answers;
mod assets;
mod door;
mod guesses;
mod names;
mod redirect;
mod screen;
mod session;
mod tls;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, header};
use hyper::body::Incoming;
use sluice_agent::service::Asking;
use tokio::sync::mpsc;

use crate::grants::{Asker, BrowserId, Browsers, Refusal, Registry, unix_now};
use crate::slice::ConsoleSlice;
use answers::{not_found, refuse_whoever};
use guesses::Guesses;
use names::Names;

pub(crate) use door::{Door, Kind, Open};
pub(crate) use tls::certificates;

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) registry: Registry,
    names: ArcSwap<Names>,
    browsers: ArcSwap<Browsers>,
    guesses: Guesses,
    /// The way to the manager.
    pub(crate) manager: mpsc::Sender<Asking>,
}

/// Whom a connection is with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// It came by TLS, ended here.
    pub(crate) tls: bool,
}

impl Shared {
    /// Before any slice: answers nobody. What outlives the process is in `folder`.
    pub(crate) fn new(
        folder: Option<&Path>,
        manager: mpsc::Sender<Asking>,
    ) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self {
            registry: Registry::new(folder),
            names: ArcSwap::from_pointee(Names::default()),
            browsers: ArcSwap::from_pointee(Browsers::new(None)?),
            guesses: Guesses::default(),
            manager,
        }))
    }

    /// Brings what `slice` says of names and grants into force. A key of cookies is made once, and stays until one is given.
    pub(crate) fn apply(&self, slice: &ConsoleSlice) -> Result<(), String> {
        let names = Names::of(slice)?;
        if slice.cookie_key.is_some() {
            self.browsers.store(Arc::new(Browsers::new(slice.cookie_key.as_ref())?));
        }
        self.names.store(Arc::new(names));
        self.registry.apply(slice);
        Ok(())
    }

    pub(crate) fn names(&self) -> Arc<Names> {
        self.names.load_full()
    }

    /// The browser behind a request for `grant`.
    fn asker(
        &self,
        peer: Peer,
        headers: &HeaderMap,
        grant: Option<&sluice_api::types::ObjectId>,
    ) -> Asker {
        let browser: Option<BrowserId> = grant.and_then(|grant| {
            let cookies = headers.get_all(header::COOKIE).into_iter();
            self.browsers.load().find(grant, cookies.filter_map(|value| value.to_str().ok()))
        });
        Asker { from: self.names().client(peer.address.ip(), headers), browser, now: unix_now() }
    }
}

/// Answers one request.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    peer: Peer,
    request: Request<Incoming>,
) -> Response<Body> {
    let names = shared.names();
    let mut response = route(shared, &names, peer, request).await;
    answers::protect(&names, response.headers_mut());
    response
}

async fn route(
    shared: Arc<Shared>,
    names: &Names,
    peer: Peer,
    request: Request<Incoming>,
) -> Response<Body> {
    if !names.answers_as(request.headers()) {
        return refuse_whoever(request.headers(), Refusal::Host);
    }
    let path = request.uri().path().to_owned();
    let Some(below) = names.prefix().strip(&path) else { return not_found() };
    let method = request.method().clone();
    let reads = method == Method::GET || method == Method::HEAD;
    match below {
        "" => answers::to_folder(&path),
        "/" if reads => assets::page(&method),
        "/alive" if reads => answers::alive(),
        "/session" if method == Method::POST => session::answer(&shared, peer, request).await,
        _ => match (below.strip_prefix("/screen/"), below.strip_prefix("/assets/")) {
            (Some(grant), _) if method == Method::GET => {
                screen::answer(&shared, peer, grant, request).await
            }
            (_, Some(asset)) if reads => assets::answer(asset, &method),
            _ => not_found(),
        },
    }
}
