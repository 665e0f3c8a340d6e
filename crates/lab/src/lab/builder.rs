//! Describing a lab in Rust. Names are checked at [`LabBuilder::start`], all at once.

use std::path::PathBuf;

use sluice_api::Finding;
use sluice_api::types::{ObjectId, VlanId};

use crate::spec::{LabSpec, MachineSpec, NamespaceSpec, NicSpec, WireSpec};
use crate::wire::Impairment;

use super::Lab;
use super::error::LabError;

/// The description of a lab in the making.
#[derive(Debug)]
pub struct LabBuilder {
    spec: Option<LabSpec>,
    findings: Vec<Finding>,
}

impl LabBuilder {
    pub(super) fn new(name: &str) -> Self {
        let mut findings = Vec::new();
        let name = id("name", name, &mut findings);
        let spec = name.map(|name| LabSpec {
            name,
            images: LabSpec::usual_images(),
            wires: [].into(),
            machines: [].into(),
            namespaces: [].into(),
        });
        Self { spec, findings }
    }

    /// Uses images of another folder than `$SLUICE_IMAGE_DIR` or `target/image`.
    #[must_use]
    pub fn images(mut self, folder: impl Into<PathBuf>) -> Self {
        if let Some(spec) = &mut self.spec {
            spec.images = folder.into();
        }
        self
    }

    /// Adds a wire without loss or delay.
    #[must_use]
    pub fn wire(self, name: &str) -> Self {
        self.impaired_wire(name, Impairment::default())
    }

    /// Adds a wire.
    #[must_use]
    pub fn impaired_wire(mut self, name: &str, impairment: Impairment) -> Self {
        let name = id("wires", name, &mut self.findings);
        if let Some((spec, name)) = self.spec.as_mut().zip(name) {
            spec.wires.insert(name, WireSpec { impairment, seed: 0 });
        }
        self
    }

    /// Adds a machine.
    #[must_use]
    pub fn machine(mut self, name: &str, machine: MachineSpec) -> Self {
        let name = id("machines", name, &mut self.findings);
        if let Some((spec, name)) = self.spec.as_mut().zip(name) {
            spec.machines.insert(name, machine);
        }
        self
    }

    /// Adds a test host with one NIC, `eth0`, on a wire.
    #[must_use]
    pub fn host(mut self, name: &str, wire: &str, vlan: Option<VlanId>) -> Self {
        match id("wires", wire, &mut self.findings) {
            Some(wire) => {
                let nic = NicSpec { vlan, ..NicSpec::on(wire) };
                self.machine(name, MachineSpec::host().nic(nic))
            }
            None => self,
        }
    }

    /// Adds a namespace of this host; needs root.
    #[must_use]
    pub fn namespace(mut self, name: &str, namespace: NamespaceSpec) -> Self {
        let name = id("namespaces", name, &mut self.findings);
        if let Some((spec, name)) = self.spec.as_mut().zip(name) {
            spec.namespaces.insert(name, namespace);
        }
        self
    }

    /// The description; all findings at once.
    pub fn build(mut self) -> Result<LabSpec, LabError> {
        if let Some(spec) = &self.spec {
            self.findings.extend(spec.check());
        }
        match self.spec {
            Some(spec) if self.findings.is_empty() => Ok(spec),
            _ => Err(LabError::Description(self.findings)),
        }
    }

    /// Starts the lab in a temporary folder.
    pub async fn start(self) -> Result<Lab, LabError> {
        Lab::start(self.build()?).await
    }
}

fn id(path: &str, name: &str, findings: &mut Vec<Finding>) -> Option<ObjectId> {
    let parsed = name.parse();
    parsed.map_err(|error| findings.push(Finding::error(path, "name", format!("{error}")))).ok()
}
