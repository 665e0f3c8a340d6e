//! A running wire: the core, its ports' sockets and the one task that moves frames.
//!
//! Guarantees: dropping the last handle ends the task and closes every port; settings take effect
//! on the next frame. Does not guarantee order under jitter, as real networks do not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sluice_api::types::VlanId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::capture::{self, Capture, Tee};
use super::core::{Counters, PortSettings, WireCore};
use super::impair::Impairment;
use super::port::{PortIo, PortReader, PortWriter};
use super::switch::{PortId, PortMode};

/// Frames from ports that wait for the wire's task; beyond it, senders wait.
const INPUT_LIMIT: usize = 1024;
/// Frames that wait for one port's station; beyond it, they are dropped and counted.
const OUTPUT_LIMIT: usize = 1024;

/// Why a wire could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Wires live on an async runtime.
    #[error("wire {0}: made outside an async runtime")]
    NoRuntime(String),
    /// The port was unplugged, or is another wire's.
    #[error("wire {wire}: no port {port}")]
    NoSuchPort {
        /// The wire.
        wire: String,
        /// The port's number.
        port: u32,
    },
}

/// A wire with its ports. Clones are handles on the same wire.
#[derive(Debug, Clone)]
pub struct Wire {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    runtime: Handle,
    state: Arc<Mutex<State>>,
    input: mpsc::Sender<(PortId, Bytes)>,
    task: AbortHandle,
}

#[derive(Debug)]
struct State {
    core: WireCore,
    attached: BTreeMap<PortId, Attached>,
    tees: Vec<Tee>,
    start: Instant,
}

#[derive(Debug)]
struct Attached {
    label: String,
    output: mpsc::Sender<Bytes>,
    tasks: [AbortHandle; 2],
}

/// A port as `status` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PortStatus {
    /// Its number on the wire.
    pub port: PortId,
    /// Machine or namespace and NIC behind it.
    pub station: String,
    /// The VLAN of an access port.
    pub vlan: Option<VlanId>,
    /// Whether the port is cut.
    pub cut: bool,
    /// Its counts.
    pub counters: Counters,
}

/// A wire as `status` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WireStatus {
    /// Its name.
    pub name: String,
    /// Whether the wire is cut.
    pub cut: bool,
    /// Its loss and delay.
    pub impairment: Impairment,
    /// Counts over all ports.
    pub counters: Counters,
    /// Its ports.
    pub ports: Vec<PortStatus>,
}

impl Wire {
    /// Makes a wire on the current async runtime. See [`WireCore::new`] for the seed.
    pub fn new(name: &str, impairment: Impairment, seed: u64) -> Result<Self, WireError> {
        let runtime = Handle::try_current().map_err(|_| WireError::NoRuntime(name.to_owned()))?;
        let (input, frames) = mpsc::channel(INPUT_LIMIT);
        let state = Arc::new(Mutex::new(State {
            core: WireCore::new(impairment, seed),
            attached: BTreeMap::new(),
            tees: Vec::new(),
            start: Instant::now(),
        }));
        let task = runtime.spawn(move_frames(state.clone(), frames)).abort_handle();
        let inner = Inner { name: name.to_owned(), runtime, state, input, task };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The wire's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Plugs a station in. `label` names it in [`Wire::status`].
    pub fn add_port(&self, label: &str, settings: PortSettings, io: PortIo) -> PortId {
        let (output, for_station) = mpsc::channel(OUTPUT_LIMIT);
        let mut state = self.state();
        let port = state.core.add_port(settings);
        let input = self.inner.input.clone();
        let reads = self.inner.runtime.spawn(read_port(port, io.reader, input));
        let writes = self.inner.runtime.spawn(write_port(port, io.writer, for_station));
        let tasks = [reads.abort_handle(), writes.abort_handle()];
        state.attached.insert(port, Attached { label: label.to_owned(), output, tasks });
        port
    }

    /// Unplugs a station.
    pub fn remove_port(&self, port: PortId) {
        let mut state = self.state();
        state.core.remove_port(port);
        state.attached.remove(&port);
    }

    /// Cuts the wire: nothing passes until [`Wire::heal`].
    pub fn cut(&self) {
        self.state().core.set_cut(true);
    }

    /// Undoes [`Wire::cut`].
    pub fn heal(&self) {
        self.state().core.set_cut(false);
    }

    /// Cuts (true) or heals one port.
    pub fn set_port_cut(&self, port: PortId, cut: bool) -> Result<(), WireError> {
        let known = self.state().core.set_port_cut(port, cut);
        if known { Ok(()) } else { Err(self.no_such(port)) }
    }

    /// Sets the wire's loss and delay.
    pub fn set_impairment(&self, impairment: Impairment) {
        self.state().core.set_impairment(impairment);
    }

    /// The wire's loss and delay.
    pub fn impairment(&self) -> Impairment {
        self.state().core.impairment()
    }

    /// Sets the loss and delay of one port.
    pub fn set_port_impairment(&self, port: PortId, to: Impairment) -> Result<(), WireError> {
        let known = self.state().core.set_port_impairment(port, to);
        if known { Ok(()) } else { Err(self.no_such(port)) }
    }

    /// Starts a capture of what the wire carries from now on.
    pub fn capture(&self) -> Capture {
        let (tee, capture) = capture::pair();
        self.state().tees.push(tee);
        capture
    }

    /// Counts since the wire was made.
    pub fn counters(&self) -> Counters {
        self.state().core.counters()
    }

    /// Settings and counts of the wire and its ports.
    pub fn status(&self) -> WireStatus {
        let state = self.state();
        WireStatus {
            name: self.inner.name.clone(),
            cut: state.core.is_cut(),
            impairment: state.core.impairment(),
            counters: state.core.counters(),
            ports: state.port_statuses(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }

    fn no_such(&self, port: PortId) -> WireError {
        WireError::NoSuchPort { wire: self.inner.name.clone(), port: port.0 }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl State {
    fn port_statuses(&self) -> Vec<PortStatus> {
        let describe = |(port, settings, cut, counters): (PortId, PortSettings, bool, Counters)| {
            let station = self.attached.get(&port).map(|at| at.label.clone()).unwrap_or_default();
            let vlan = match settings.mode {
                PortMode::Trunk => None,
                PortMode::Access(vlan) => Some(vlan),
            };
            PortStatus { port, station, vlan, cut, counters }
        };
        self.core.ports().map(describe).collect()
    }

    fn take_in(&mut self, port: PortId, frame: &Bytes) {
        let now = self.start.elapsed();
        if let Some(carried) = self.core.offer(now, port, frame) {
            self.tees.retain(|tee| tee.record(port, &carried));
        }
    }

    /// Hands out what is due; returns how long until more is.
    fn hand_out(&mut self) -> Option<Duration> {
        let now = self.start.elapsed();
        while let Some(delivery) = self.core.pop_due(now) {
            let Some(attached) = self.attached.get(&delivery.to) else { continue };
            if attached.output.try_send(delivery.frame).is_err() {
                self.core.count_overflow(delivery.to);
            }
        }
        self.core.next_due().map(|due| due.saturating_sub(now))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // the state is whole between calls; a panic elsewhere cannot have left it half changed
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn move_frames(state: Arc<Mutex<State>>, mut frames: mpsc::Receiver<(PortId, Bytes)>) {
    let mut batch = Vec::with_capacity(64);
    let mut wait = None;
    loop {
        if next_batch(&mut frames, &mut batch, wait).await == Some(0) {
            return;
        }
        let mut state = lock(&state);
        for (port, frame) in batch.drain(..) {
            state.take_in(port, &frame);
        }
        wait = state.hand_out();
    }
}

/// Frames taken in, 0 when no port can ever send again, `None` when delayed frames are due first.
async fn next_batch(
    frames: &mut mpsc::Receiver<(PortId, Bytes)>,
    batch: &mut Vec<(PortId, Bytes)>,
    wait: Option<Duration>,
) -> Option<usize> {
    let receive = frames.recv_many(batch, 64);
    match wait {
        None => Some(receive.await),
        Some(wait) => tokio::time::timeout(wait, receive).await.ok(),
    }
}

async fn read_port(port: PortId, mut reader: PortReader, input: mpsc::Sender<(PortId, Bytes)>) {
    let mut buffer = Vec::new();
    loop {
        match reader.recv(&mut buffer).await {
            Ok(Some(frame)) => {
                if input.send((port, frame)).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(port = port.0, %error, "port stopped receiving");
                return;
            }
        }
    }
}

async fn write_port(port: PortId, writer: PortWriter, mut frames: mpsc::Receiver<Bytes>) {
    while let Some(frame) = frames.recv().await {
        let length = frame.len();
        if !writer.send(frame).await {
            tracing::debug!(port = port.0, length, "station did not take a frame");
        }
    }
}
