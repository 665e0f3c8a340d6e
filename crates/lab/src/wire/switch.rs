//! The learning switch, without I/O: a frame and the port it came in by go in, copies for ports
//! come out.
//!
//! Guarantees: frames entering by an access port are in its VLAN and in no other; an access port
//! emits frames of its VLAN only, untagged; a frame never leaves by the port it came in by;
//! the address table is bounded. Addresses are learned per VLAN (IEEE 802.1Q, 8.7, independent
//! learning), so one MAC may be in two VLANs on two ports.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sluice_api::types::{MacAddr, VlanId};

use super::frame::Frame;

/// Learned addresses a switch holds at most; beyond it, frames to new addresses are flooded.
const TABLE_LIMIT: usize = 8192;

/// A port of one wire. Numbers are never used twice on a wire.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct PortId(pub u32);

/// What a port does with tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PortMode {
    /// Frames pass untouched, tagged or not.
    #[default]
    Trunk,
    /// The station behind the port is in this VLAN and knows nothing of tags.
    Access(VlanId),
}

/// Why a frame went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Shorter than its own header.
    Malformed,
    /// The port is not on this switch (it was unplugged a moment ago).
    NoSuchPort,
    /// A tagged frame on an access port: a station may not choose its VLAN.
    TaggedOnAccess,
}

/// One frame, accepted.
#[derive(Debug)]
pub struct Carried {
    /// The frame as a trunk would see it: with its tag when it is in a VLAN.
    pub on_wire: Bytes,
    /// The ports it leaves by and what each gets.
    pub out: Vec<(PortId, Bytes)>,
}

/// 0 is the wire's untagged traffic, 1 to 4095 are what the tag says.
type Class = u16;

/// Ports and the addresses learned behind them.
#[derive(Debug, Default)]
pub struct Switch {
    ports: BTreeMap<PortId, PortMode>,
    table: BTreeMap<(Class, MacAddr), PortId>,
}

impl Switch {
    /// Adds a port, or changes what a port does with tags.
    pub fn set_port(&mut self, port: PortId, mode: PortMode) {
        self.forget(port);
        self.ports.insert(port, mode);
    }

    /// Takes a port away together with the addresses behind it.
    pub fn remove_port(&mut self, port: PortId) {
        self.forget(port);
        self.ports.remove(&port);
    }

    /// The port an address was last heard on, in a VLAN or (`None`) untagged.
    pub fn lookup(&self, vlan: Option<VlanId>, mac: MacAddr) -> Option<PortId> {
        self.table.get(&(vlan.map_or(0, VlanId::get), mac)).copied()
    }

    /// Decides where a frame goes and learns where its sender is.
    pub fn forward(&mut self, from: PortId, bytes: &Bytes) -> Result<Carried, Refused> {
        let mode = *self.ports.get(&from).ok_or(Refused::NoSuchPort)?;
        let frame = Frame::parse(bytes).ok_or(Refused::Malformed)?;
        let on_wire = ingress(mode, &frame, bytes)?;
        let Some(frame) = Frame::parse(&on_wire) else { return Err(Refused::Malformed) };
        let class = class_of(&frame);
        self.learn(class, frame.source(), from);
        let out = self.egress(from, class, &frame, &on_wire);
        Ok(Carried { on_wire, out })
    }

    fn forget(&mut self, port: PortId) {
        self.table.retain(|_, at| *at != port);
    }

    fn learn(&mut self, class: Class, source: [u8; 6], port: PortId) {
        // a group address as sender is nonsense and must not capture the group's traffic
        let Some(source) = MacAddr::from_bytes(source) else { return };
        if let Some(at) = self.table.get_mut(&(class, source)) {
            *at = port;
        } else if self.table.len() < TABLE_LIMIT {
            self.table.insert((class, source), port);
        }
    }

    fn egress(
        &self,
        from: PortId,
        class: Class,
        frame: &Frame<'_>,
        on_wire: &Bytes,
    ) -> Vec<(PortId, Bytes)> {
        let destination = MacAddr::from_bytes(frame.destination());
        let known = destination.and_then(|mac| self.table.get(&(class, mac)));
        self.ports
            .iter()
            .filter(|(port, _)| **port != from && known.is_none_or(|only| only == *port))
            .filter_map(|(port, mode)| Some((*port, leave(*mode, class, frame, on_wire)?)))
            .collect()
    }
}

fn class_of(frame: &Frame<'_>) -> Class {
    frame.tag().map_or(0, |tci| tci & 0x0fff)
}

fn ingress(mode: PortMode, frame: &Frame<'_>, bytes: &Bytes) -> Result<Bytes, Refused> {
    match mode {
        PortMode::Trunk => Ok(bytes.clone()),
        PortMode::Access(vlan) if frame.is_untagged() => Ok(frame.tagged(vlan)),
        PortMode::Access(_) => Err(Refused::TaggedOnAccess),
    }
}

fn leave(mode: PortMode, class: Class, frame: &Frame<'_>, on_wire: &Bytes) -> Option<Bytes> {
    match mode {
        PortMode::Trunk => Some(on_wire.clone()),
        PortMode::Access(vlan) => (class == vlan.get()).then(|| frame.untagged()),
    }
}
