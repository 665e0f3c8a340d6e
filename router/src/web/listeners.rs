//! The listening sockets of a site: opened, watched and opened again.
//!
//! Guarantees: sockets of addresses that stay are not touched by a change; one whose link is missing is tried again until
//! it is there, and opened anew when the link was replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_api::types::LinkName;
use socket2::Socket;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::Site;
use super::connection::{Shared, serve};
use crate::endpoint::Endpoint;

/// Time between looks at links that are missing or were replaced.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// Pause after a connection that could not be accepted, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A running site. Dropping it closes everything.
pub(crate) struct Web<S> {
    inner: Arc<Inner<S>>,
    check: AbortHandle,
}

struct Inner<S> {
    shared: Arc<Shared<S>>,
    sockets: Mutex<Sockets>,
}

#[derive(Default)]
struct Sockets {
    wanted: BTreeSet<Endpoint>,
    open: BTreeMap<Endpoint, Open>,
    missing: BTreeMap<Endpoint, String>,
}

struct Open {
    /// Kept only to ask whether its link is still there.
    probe: Socket,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<S: Site> Web<S> {
    /// A site without listeners. Must be called inside a tokio runtime.
    pub(crate) fn start(site: S) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(site)?);
        let inner = Arc::new(Inner { shared, sockets: Mutex::default() });
        let checked = inner.clone();
        let check = tokio::spawn(async move {
            loop {
                sleep(CHECK_EVERY).await;
                checked.reconcile();
            }
        });
        Ok(Self { inner, check: check.abort_handle() })
    }

    /// What is answered.
    pub(crate) fn site(&self) -> &S {
        &self.inner.shared.site
    }

    /// Listens there from now on, and nowhere else.
    pub(crate) fn follow(&self, wanted: BTreeSet<Endpoint>) {
        self.inner.sockets().wanted = wanted;
        self.inner.reconcile();
    }

    /// Where it should listen and cannot yet, with the reason.
    pub(crate) fn missing(&self) -> Vec<String> {
        let sockets = self.inner.sockets();
        let told = |(endpoint, why): (&Endpoint, &String)| format!("{}: {why}", endpoint.address);
        sockets.missing.iter().map(told).collect()
    }

    /// Counters by name.
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        let mut named = self.inner.shared.counters.named();
        let missing = u64::try_from(self.inner.sockets().missing.len()).unwrap_or(u64::MAX);
        named.insert("addresses_missing".to_owned(), missing);
        named
    }
}

impl<S> Drop for Web<S> {
    fn drop(&mut self) {
        self.check.abort();
    }
}

impl<S: Site> Inner<S> {
    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reconcile(&self) {
        let mut sockets = self.sockets();
        let Sockets { wanted, open, missing } = &mut *sockets;
        open.retain(|endpoint, open| wanted.contains(endpoint) && is_current(endpoint, open));
        missing.retain(|endpoint, _| wanted.contains(endpoint));
        for endpoint in wanted.iter() {
            if open.contains_key(endpoint) {
                continue;
            }
            match self.open(endpoint) {
                Ok(socket) => {
                    debug!(service = S::NAME, address = %endpoint.address, port = endpoint.port, "listening");
                    missing.remove(endpoint);
                    open.insert(endpoint.clone(), socket);
                }
                Err(error) => {
                    let why = error.to_string();
                    // said once, not at every try
                    if missing.insert(endpoint.clone(), why.clone()) != Some(why.clone()) {
                        info!(service = S::NAME, address = %endpoint.address, %why, "cannot listen yet");
                    }
                }
            }
        }
    }

    fn open(&self, endpoint: &Endpoint) -> io::Result<Open> {
        let link = endpoint.link.clone().ok_or(io::ErrorKind::InvalidInput)?;
        let socket = endpoint.open_tcp()?;
        let probe = socket.try_clone()?;
        let listener = TcpListener::from_std(socket.into())?;
        let task = tokio::spawn(accept(listener, link, self.shared.clone())).abort_handle();
        Ok(Open { probe, task })
    }
}

fn is_current(endpoint: &Endpoint, open: &Open) -> bool {
    let current = endpoint.is_current(&open.probe);
    if !current {
        warn!(link = ?endpoint.link, address = %endpoint.address, "link was replaced, opening anew");
    }
    current
}

/// Accepts for ever; its connections end with it.
async fn accept<S: Site>(listener: TcpListener, link: LinkName, shared: Arc<Shared<S>>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, SocketAddr::V4(from))) => {
                let address = *from.ip();
                if let Some(seat) = shared.admit(&link, address) {
                    // small answers must not wait for acknowledgements
                    let _unneeded = stream.set_nodelay(true);
                    connections.spawn(serve(stream, link.clone(), address, shared.clone(), seat));
                }
            }
            // the sockets are IPv4 ones
            Ok((_, SocketAddr::V6(_))) => {}
            Err(error) => {
                debug!(service = S::NAME, %link, %error, "accept failed");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Endpoints at `addresses` on `link`.
pub(crate) fn endpoints<'a>(
    link: &'a LinkName,
    port: u16,
    addresses: impl IntoIterator<Item = IpAddr> + 'a,
) -> impl Iterator<Item = Endpoint> + 'a {
    addresses.into_iter().map(move |address| Endpoint { address, port, link: Some(link.clone()) })
}
