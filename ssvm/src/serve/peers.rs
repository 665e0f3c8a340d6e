//! Objects for other secondary storage VMs.
//!
//! Guarantees: who connects names one gift and shows a certificate of that gift's own authority before anything else is said,
//! and gets that object alone; one that has ended, or went out of the configuration, is given to nobody.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response};
use axum::routing::get;
use rustls::ServerConfig;
use rustls::server::{Acceptor, WebPkiClientVerifier};
use sluice_api::types::TokenHash;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;

use super::answer::{self, Answer};
use super::download;
use super::grants::Held;
use super::listen::{Ended, HANDSHAKE, accept, answer as converse};
use crate::holes::HOLES;
use crate::identity::{Identity, provider};
use crate::jobs::Engine;
use crate::slice::{GiftSlice, Grant, Permission, StorageSlice};

/// A gift, ready to be given.
#[derive(Clone)]
struct Ready {
    tls: Arc<ServerConfig>,
    held: Held,
}

/// The gifts of an address, by name.
type Gifts = Arc<RwLock<HashMap<String, Ready>>>;

/// The addresses where objects are given.
#[derive(Default)]
pub(super) struct Peers(Mutex<BTreeMap<SocketAddr, Door>>);

struct Door {
    gifts: Gifts,
    task: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peers {
    /// From now on what `slice` says. An error leaves what was.
    pub(super) async fn apply(
        &self,
        slice: &StorageSlice,
        engine: &Arc<Engine>,
    ) -> Result<(), String> {
        let (mut wanted, mut fresh) = (BTreeMap::new(), Vec::new());
        for peer in &slice.peers {
            let ready: HashMap<_, _> =
                peer.gifts.iter().map(ready).collect::<Result<_, String>>()?;
            if !self.is_open(peer.address) {
                let bound = TcpListener::bind(peer.address).await;
                let reason = |error| format!("cannot listen on {}: {error}", peer.address);
                fresh.push((peer.address, bound.map_err(reason)?));
            }
            wanted.insert(peer.address, ready);
        }
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|address, _| wanted.contains_key(address));
        for (address, listener) in fresh {
            let slots = Arc::new(Semaphore::new(usize::from(slice.limits.connections.max(1))));
            let (gifts, engine) = (Gifts::default(), Arc::clone(engine));
            let seen = Arc::clone(&gifts);
            let give = move |stream| give(stream, Arc::clone(&seen), Arc::clone(&engine));
            tracing::info!(%address, "storage gives to other appliances");
            let task = tokio::spawn(accept(listener, slots, give));
            open.insert(address, Door { gifts, task });
        }
        for (address, ready) in wanted {
            if let Some(door) = open.get(&address) {
                *door.gifts.write().unwrap_or_else(PoisonError::into_inner) = ready;
            }
        }
        Ok(())
    }

    fn is_open(&self, address: SocketAddr) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&address)
    }
}

fn ready(gift: &GiftSlice) -> Result<(String, Ready), String> {
    let tls = tls(gift).map_err(|reason| format!("gift {}: {reason}", gift.id))?;
    let permission = Permission::Download {
        store: gift.store.clone(),
        place: gift.place.clone(),
        file_name: None,
        most_downloads: None,
        bytes_per_second: None,
        redirect_seconds: None,
    };
    let grant = Grant {
        id: gift.id.clone(),
        // nobody comes to a gift by a token
        token: TokenHash::of(gift.id.as_str()),
        expires: gift.expires,
        permission,
    };
    let held = Held { grant, meter: Arc::default() };
    Ok((gift.id.as_str().to_ascii_lowercase(), Ready { tls, held }))
}

fn tls(gift: &GiftSlice) -> Result<Arc<ServerConfig>, String> {
    let Identity { own, key, authority } = Identity::read(&gift.identity)?;
    let clients = WebPkiClientVerifier::builder_with_provider(authority, provider());
    let clients = clients.build().map_err(|error| error.to_string())?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![own], key)
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}

/// One connection: which gift it is about is said first, in the clear; then both sides show who they are.
async fn give(stream: TcpStream, gifts: Gifts, engine: Arc<Engine>) -> Result<(), Ended> {
    stream.set_nodelay(true)?;
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let hello = timeout(HANDSHAKE, hello).await??;
    let name = hello.client_hello().server_name().map(str::to_ascii_lowercase);
    let found = name
        .and_then(|name| gifts.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned());
    let Some(Ready { tls, held }) = found else { return Err("no gift of that name".into()) };
    let stream = timeout(HANDSHAKE, hello.into_stream(tls)).await??;
    let router = Router::new()
        .route("/object", get(object))
        .layer(axum::middleware::map_response(answer::harden))
        .with_state(Giving { engine, held, gifts });
    converse(stream, router).await
}

#[derive(Clone)]
struct Giving {
    engine: Arc<Engine>,
    held: Held,
    gifts: Gifts,
}

async fn object(
    State(giving): State<Giving>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response<Body>, Answer> {
    let name = giving.held.grant.id.as_str().to_ascii_lowercase();
    let stays = {
        let gifts = giving.gifts.read().unwrap_or_else(PoisonError::into_inner);
        gifts.get(&name).is_some_and(|ready| ready.held.grant == giving.held.grant)
    };
    if !stays {
        return Err(Answer::nothing_here());
    }
    giving.held.still_runs()?;
    let holes = headers.get(HOLES).is_some_and(|value| value == "1");
    download::object(&giving.engine, giving.held, &method, &headers, holes).await
}
