//! The running service: threads, sockets and the configuration they answer from.
//!
//! Guarantees: a new slice takes effect between two queries, whole, and drops none; sockets of addresses that stay are
//! not touched, and neither is the cache unless the upstreams change. Sockets whose link is missing are tried again
//! until it is there, and opened anew when it was replaced.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use socket2::Socket;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::cache::Cache;
use super::counters::{Counters, Counts};
use super::forward::Forwarder;
use super::limit::Limiter;
use super::listen::endpoints;
use super::slice::{DnsSlice, Settings};
use super::snapshot::Snapshot;
use super::tcp::{self, Connections};
use super::terms::Terms;
use super::udp::{self, Batches};
use crate::endpoint::Endpoint;

/// Most threads by default: a router has better uses for further processors.
const MAX_WORKERS: usize = 4;
/// Time between looks at links that are missing or were replaced.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// Time that threads get to open new sockets before a change counts as in force.
const SETTLE: Duration = Duration::from_secs(1);

/// What all threads share.
pub(super) struct Shared {
    pub(super) snapshot: ArcSwap<Snapshot>,
    pub(super) cache: Arc<Cache>,
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) counters: Arc<Counters>,
    pub(super) connections: Connections,
    pub(super) limiter: Limiter,
    start: Instant,
}

impl Shared {
    /// Seconds since the service's start.
    pub(super) fn seconds(&self) -> u32 {
        u32::try_from(self.start.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    /// Nanoseconds since then.
    pub(super) fn nanoseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The service.
pub struct Server {
    shared: Arc<Shared>,
    wanted: watch::Sender<Wanted>,
    progress: Vec<watch::Receiver<Progress>>,
}

#[derive(Clone, Default)]
struct Wanted {
    number: u64,
    endpoints: BTreeSet<Endpoint>,
}

/// How far a thread is.
#[derive(Clone, Default)]
struct Progress {
    number: u64,
    missing: Vec<String>,
}

/// The state of the service, for reports.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// All counts since the start.
    pub counts: Counts,
    /// Cached answers.
    pub cache_entries: usize,
    /// Their memory in bytes.
    pub cache_bytes: usize,
    /// Upstreams that do not answer.
    pub upstreams_down: Vec<SocketAddr>,
    /// Addresses that could not be opened yet, with the reason.
    pub missing: Vec<String>,
}

impl Server {
    /// Starts the threads; nothing is answered before the first [`apply`](Self::apply).
    ///
    /// Errors: the system has no room for a thread.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let start = Instant::now();
        let (cache, counters) = (Arc::new(Cache::new(settings.cache_bytes)), Arc::default());
        let forwarder = Arc::new(Forwarder::new(Arc::clone(&cache), Arc::clone(&counters), start));
        let snapshot = ArcSwap::from_pointee(Snapshot::empty());
        let (connections, limiter) = (Connections::default(), Limiter::default());
        let shared = Shared { snapshot, cache, forwarder, counters, connections, limiter, start };
        let shared = Arc::new(shared);
        let (wanted, watching) = watch::channel(Wanted::default());
        let progress = (0..workers(settings))
            .map(|number| start_worker(number, shared.clone(), watching.clone()))
            .collect::<io::Result<_>>()?;
        Ok(Self { shared, wanted, progress })
    }

    /// Puts `slice` in force; `serial` becomes the zones' SOA serial. Returns when every thread answers from it, and has
    /// opened what can be opened now; what cannot is in the [`report`](Self::report) and is tried again.
    ///
    /// Errors: terms for resolvers that cannot be kept; nothing is changed.
    pub async fn apply(&self, slice: &DnsSlice, serial: u32) -> Result<(), String> {
        let begun = Instant::now();
        let terms = Terms::of(slice)?;
        let snapshot = Arc::new(Snapshot::build(slice, serial));
        self.shared.cache.limit(slice.settings.cache_bytes);
        self.shared.limiter.configure(slice.settings.client_rate);
        self.shared.forwarder.configure(snapshot.groups(), &slice.settings, &terms);
        self.shared.snapshot.store(snapshot);
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            wanted.number += 1;
            wanted.endpoints = endpoints(slice);
            number = wanted.number;
        });
        for progress in &self.progress {
            let mut progress = progress.clone();
            // a thread that is late opens its sockets soon after; the zones are in force already
            let _late = timeout(SETTLE, progress.wait_for(|it| it.number >= number)).await;
        }
        let networks = slice.networks.len();
        info!(networks, serial, elapsed = ?begun.elapsed(), "dns configuration in force");
        Ok(())
    }

    /// The state now.
    pub fn report(&self) -> Report {
        let (cache_entries, cache_bytes) = self.shared.cache.usage();
        let missing = self.progress.iter().flat_map(|progress| progress.borrow().missing.clone());
        let missing: BTreeSet<_> = missing.collect();
        Report {
            counts: self.shared.counters.read(),
            cache_entries,
            cache_bytes,
            upstreams_down: self.shared.forwarder.down(),
            missing: missing.into_iter().collect(),
        }
    }
}

fn workers(settings: &Settings) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    match usize::from(settings.workers) {
        0 => processors.min(MAX_WORKERS),
        given => given,
    }
}

/// Thread 0 also answers TCP, which is rare.
fn start_worker(
    number: usize,
    shared: Arc<Shared>,
    wanted: watch::Receiver<Wanted>,
) -> io::Result<watch::Receiver<Progress>> {
    let (progress, watching) = watch::channel(Progress::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(format!("dns-{number}")).spawn(move || {
        let worker = Worker::new(number == 0, shared, progress);
        LocalSet::new().block_on(&runtime, worker.run(wanted));
    })?;
    Ok(watching)
}

struct Worker {
    with_tcp: bool,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    batches: Rc<RefCell<Batches>>,
    open: BTreeMap<Endpoint, Open>,
}

/// The sockets of one endpoint; closed when dropped.
struct Open {
    /// Kept only to ask whether its link is still there.
    probe: Socket,
    tasks: Vec<AbortHandle>,
}

impl Drop for Open {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Worker {
    fn new(with_tcp: bool, shared: Arc<Shared>, progress: watch::Sender<Progress>) -> Self {
        let batches = Rc::new(RefCell::new(Batches::new()));
        Self { with_tcp, shared, progress, batches, open: BTreeMap::new() }
    }

    /// Ends when the server is dropped.
    async fn run(mut self, mut wanted: watch::Receiver<Wanted>) {
        loop {
            let now = wanted.borrow_and_update().clone();
            let missing = self.reconcile(&now.endpoints);
            self.progress.send_replace(Progress { number: now.number, missing });
            if let Ok(Err(_)) = timeout(CHECK_EVERY, wanted.changed()).await {
                return;
            }
        }
    }

    /// Closes what is not wanted or lost its link, opens what is wanted; answers what could not be opened.
    fn reconcile(&mut self, wanted: &BTreeSet<Endpoint>) -> Vec<String> {
        self.open.retain(|endpoint, open| wanted.contains(endpoint) && open.is_current(endpoint));
        let mut missing = Vec::new();
        for endpoint in wanted {
            if self.open.contains_key(endpoint) {
                continue;
            }
            match self.open(endpoint) {
                Ok(open) => {
                    debug!(address = %endpoint.address, port = endpoint.port, "answering");
                    self.open.insert(endpoint.clone(), open);
                }
                Err(error) => missing.push(format!("{}: {error}", endpoint.address)),
            }
        }
        missing
    }

    fn open(&self, endpoint: &Endpoint) -> io::Result<Open> {
        let socket = endpoint.open_udp()?;
        let probe = socket.try_clone()?;
        let udp = Rc::new(UdpSocket::from_std(socket.into())?);
        let listener = if self.with_tcp {
            Some(TcpListener::from_std(endpoint.open_tcp()?.into())?)
        } else {
            None
        };
        let (local, shared) = (endpoint.address, &self.shared);
        let serve_udp = udp::serve(udp, local, shared.clone(), self.batches.clone());
        let mut tasks = vec![spawn_local(serve_udp).abort_handle()];
        if let Some(listener) = listener {
            tasks.push(spawn_local(tcp::serve(listener, local, shared.clone())).abort_handle());
        }
        Ok(Open { probe, tasks })
    }
}

impl Open {
    fn is_current(&self, endpoint: &Endpoint) -> bool {
        let current = endpoint.is_current(&self.probe);
        if !current {
            warn!(link = ?endpoint.link, address = %endpoint.address, "link was replaced, opening anew");
        }
        current
    }
}
