//! A wire's decisions without I/O: frame, port and time in; frames due at ports out.
//!
//! Guarantees: deterministic for a seed; at most `QUEUE_LIMIT` delayed frames are held and the
//! rest are counted as dropped; a cut wire or port carries nothing, delayed frames included.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

use super::impair::Impairment;
use super::switch::{Carried, PortId, PortMode, Refused, Switch};

/// Frames on their way (delayed) at most. At 1500 bytes each this is about 25 MB.
pub(super) const QUEUE_LIMIT: usize = 16_384;

/// What a port is and does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PortSettings {
    /// Trunk or access.
    pub mode: PortMode,
    /// Loss and delay of this port, on top of the wire's, in both directions.
    pub impairment: Impairment,
}

/// Counts since the port or wire was made. Frames and bytes are as seen at the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Frames that came in.
    pub in_frames: u64,
    /// Bytes that came in.
    pub in_bytes: u64,
    /// Frames that went out.
    pub out_frames: u64,
    /// Bytes that went out.
    pub out_bytes: u64,
    /// Lost on purpose.
    pub lost: u64,
    /// Met a cut wire or port.
    pub cut: u64,
    /// Too short, or tagged on an access port.
    pub refused: u64,
    /// A queue was full.
    pub overflow: u64,
}

/// A frame that leaves by a port now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The port.
    pub to: PortId,
    /// What it gets.
    pub frame: Bytes,
}

#[derive(Debug, Default)]
struct Port {
    settings: PortSettings,
    cut: bool,
    counters: Counters,
}

/// The state of one wire.
#[derive(Debug)]
pub struct WireCore {
    switch: Switch,
    ports: BTreeMap<PortId, Port>,
    impairment: Impairment,
    cut: bool,
    counters: Counters,
    queue: BTreeMap<(Duration, u64), Delivery>,
    sequence: u64,
    next_port: u32,
    rng: SmallRng,
}

impl WireCore {
    /// A wire without ports. The same seed and the same frames lose the same frames.
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Self {
            switch: Switch::default(),
            ports: BTreeMap::new(),
            impairment,
            cut: false,
            counters: Counters::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            next_port: 0,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Adds a port.
    pub fn add_port(&mut self, settings: PortSettings) -> PortId {
        let id = PortId(self.next_port);
        self.next_port = self.next_port.wrapping_add(1);
        self.switch.set_port(id, settings.mode);
        self.ports.insert(id, Port { settings, ..Port::default() });
        id
    }

    /// Takes a port away. Frames on their way to it are lost.
    pub fn remove_port(&mut self, id: PortId) {
        self.switch.remove_port(id);
        self.ports.remove(&id);
    }

    /// Changes the loss and delay of the wire.
    pub fn set_impairment(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// Loss and delay of the wire.
    pub fn impairment(&self) -> Impairment {
        self.impairment
    }

    /// Changes the loss and delay of one port. False when there is no such port.
    pub fn set_port_impairment(&mut self, id: PortId, impairment: Impairment) -> bool {
        let port = self.ports.get_mut(&id);
        port.map(|port| port.settings.impairment = impairment).is_some()
    }

    /// Cuts or heals the wire.
    pub fn set_cut(&mut self, cut: bool) {
        self.cut = cut;
    }

    /// Whether the wire is cut.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Cuts or heals one port. False when there is no such port.
    pub fn set_port_cut(&mut self, id: PortId, cut: bool) -> bool {
        self.ports.get_mut(&id).map(|port| port.cut = cut).is_some()
    }

    /// Counts of the whole wire.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Each port with its settings, whether it is cut, and its counts.
    pub fn ports(&self) -> impl Iterator<Item = (PortId, PortSettings, bool, Counters)> {
        self.ports.iter().map(|(id, port)| (*id, port.settings, port.cut, port.counters))
    }

    /// Takes a frame in. Returns it as it is on the wire when the wire carried it.
    pub fn offer(&mut self, now: Duration, from: PortId, frame: &Bytes) -> Option<Bytes> {
        let length = frame.len() as u64;
        self.count(from, |counters| {
            counters.in_frames += 1;
            counters.in_bytes += length;
        });
        let port = self.ports.get(&from)?;
        if self.cut || port.cut {
            self.count(from, |counters| counters.cut += 1);
            return None;
        }
        let ingress = port.settings.impairment;
        if self.impairment.loses(&mut self.rng) || ingress.loses(&mut self.rng) {
            self.count(from, |counters| counters.lost += 1);
            return None;
        }
        match self.switch.forward(from, frame) {
            Ok(carried) => Some(self.carry(now, ingress, carried)),
            Err(Refused::NoSuchPort) => None,
            Err(Refused::Malformed | Refused::TaggedOnAccess) => {
                self.count(from, |counters| counters.refused += 1);
                None
            }
        }
    }

    /// When the next delayed frame is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes out the next frame that is due. `None` when nothing more is due yet.
    pub fn pop_due(&mut self, now: Duration) -> Option<Delivery> {
        loop {
            let entry = self.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
            let delivery = entry.remove();
            let Some(port) = self.ports.get(&delivery.to) else { continue };
            let length = delivery.frame.len() as u64;
            let cut = self.cut || port.cut;
            self.count(delivery.to, |counters| {
                if cut {
                    counters.cut += 1;
                } else {
                    counters.out_frames += 1;
                    counters.out_bytes += length;
                }
            });
            if !cut {
                return Some(delivery);
            }
        }
    }

    /// Counts a frame that found the queue behind a port full.
    pub fn count_overflow(&mut self, port: PortId) {
        self.count(port, |counters| counters.overflow += 1);
    }

    fn carry(&mut self, now: Duration, ingress: Impairment, carried: Carried) -> Bytes {
        let mut due = now + self.impairment.lateness(&mut self.rng);
        due += ingress.lateness(&mut self.rng);
        for (to, frame) in carried.out {
            self.send(due, Delivery { to, frame });
        }
        carried.on_wire
    }

    fn send(&mut self, due: Duration, delivery: Delivery) {
        let Some(port) = self.ports.get(&delivery.to) else { return };
        let egress = port.settings.impairment;
        if egress.loses(&mut self.rng) {
            self.count(delivery.to, |counters| counters.lost += 1);
        } else if self.queue.len() >= QUEUE_LIMIT {
            self.count(delivery.to, |counters| counters.overflow += 1);
        } else {
            let due = due + egress.lateness(&mut self.rng);
            self.sequence += 1;
            self.queue.insert((due, self.sequence), delivery);
        }
    }

    fn count(&mut self, port: PortId, change: impl Fn(&mut Counters)) {
        change(&mut self.counters);
        if let Some(port) = self.ports.get_mut(&port) {
            change(&mut port.counters);
        }
    }
}
