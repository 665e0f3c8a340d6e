//! A machine's NICs: what they are on QEMU's command line and how they are plugged into a wire.

use std::path::Path;

use serde_json::{Value, json};
use sluice_api::types::MacAddr;

use crate::spec::NicSpec;
use crate::wire::{PortId, PortIo, PortMode, PortSettings, Wire};

use super::error::{MachineError, OfMachine};
use super::layout::Layout;

/// A NIC's number on its machine: 0 for the first. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NicId(pub usize);

/// A NIC and the wire's port it is plugged into. Unplugged when dropped.
#[derive(Debug)]
pub(super) struct Nic {
    pub(super) id: NicId,
    pub(super) mac: MacAddr,
    /// Whether its link has a carrier, as the machine sees it.
    pub(super) carrier: bool,
    wire: Wire,
    port: PortId,
}

impl Nic {
    /// Plugs it into the wire; the machine may come later.
    pub(super) fn plug(
        machine: &str,
        layout: &Layout,
        id: NicId,
        mac: MacAddr,
        spec: &NicSpec,
        wire: &Wire,
    ) -> Result<Self, MachineError> {
        let ends = (layout.nic_wire_end(id.0), layout.nic_machine_end(id.0));
        let io = PortIo::datagram(&ends.0, &ends.1).of(machine, "make a NIC's socket")?;
        let mode = spec.vlan.map_or(PortMode::Trunk, PortMode::Access);
        let settings = PortSettings { mode, impairment: spec.impairment };
        let port = wire.add_port(&format!("{machine}.{}", id.0), settings, io);
        Ok(Self { id, mac, carrier: true, wire: wire.clone(), port })
    }

    /// Its name in QEMU, for backend and device alike.
    pub(super) fn backend(id: NicId) -> String {
        format!("net{}", id.0)
    }

    /// Its device's name in QEMU.
    pub(super) fn device(id: NicId) -> String {
        format!("nic{}", id.0)
    }

    /// Arguments of the monitor's `set_link`.
    pub(super) fn link(id: NicId, carrier: bool) -> Value {
        json!({ "name": Self::device(id), "up": carrier })
    }

    /// Arguments of the monitor's `netdev_add`.
    pub(super) fn netdev(&self, layout: &Layout) -> Value {
        let end = |path: &Path| json!({ "type": "unix", "path": path });
        json!({
            "type": "dgram",
            "id": Self::backend(self.id),
            "local": end(&layout.nic_machine_end(self.id.0)),
            "remote": end(&layout.nic_wire_end(self.id.0)),
        })
    }

    /// Arguments of the monitor's `device_add`.
    pub(super) fn device_arguments(&self) -> Value {
        json!({
            "driver": "virtio-net-pci",
            "id": Self::device(self.id),
            "netdev": Self::backend(self.id),
            "mac": self.mac.to_string(),
        })
    }

    /// The port it is plugged into.
    pub(super) fn port(&self) -> (&Wire, PortId) {
        (&self.wire, self.port)
    }
}

impl Drop for Nic {
    fn drop(&mut self) {
        self.wire.remove_port(self.port);
    }
}
