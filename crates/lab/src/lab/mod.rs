//! A running lab: wires, machines and namespaces that belong together.
//!
//! Guarantees: starts whole or not at all; dropping it ends everything it started and removes its
//! files. Machines are switched on, not awaited: what boots in them says when it is ready.

mod builder;
mod error;
mod hosts;
mod start;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sluice_api::types::ObjectId;

pub use builder::LabBuilder;
pub use error::LabError;
pub use hosts::Host;

use crate::netns::{Namespace, Topology};
use crate::qemu::{Accelerator, Machine, MachineStatus};
use crate::spec::LabSpec;
use crate::wire::{Wire, WireStatus};

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    spec: LabSpec,
    accelerator: Accelerator,
    // machines before wires and folder: they use both until they end
    machines: BTreeMap<ObjectId, Machine>,
    namespaces: BTreeMap<ObjectId, Namespace>,
    wires: BTreeMap<ObjectId, Wire>,
    _topology: Option<Topology>,
    folder: Folder,
}

/// Where a lab's files are.
#[derive(Debug)]
enum Folder {
    /// Gone with the lab.
    Temporary(tempfile::TempDir),
    /// Somebody else's to remove.
    Given(PathBuf),
}

/// A lab as `status` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// Its machines.
    pub machines: Vec<MachineStatus>,
    /// Its wires.
    pub wires: Vec<WireStatus>,
    /// Its namespaces, by name, with what `ip netns` calls them.
    pub namespaces: BTreeMap<String, String>,
}

impl Lab {
    /// Describes a lab of this name step by step.
    pub fn builder(name: &str) -> LabBuilder {
        LabBuilder::new(name)
    }

    /// Starts what `spec` describes, in a temporary folder.
    pub async fn start(spec: LabSpec) -> Result<Self, LabError> {
        let folder = tempfile::Builder::new().prefix("slt-").tempdir_in("/tmp");
        let folder = folder.map_err(|source| LabError::Folder { path: "/tmp".into(), source })?;
        start::start(spec, Folder::Temporary(folder)).await
    }

    /// Starts what `spec` describes, with its files in `folder`, which must exist.
    pub async fn start_in(spec: LabSpec, folder: &Path) -> Result<Self, LabError> {
        start::start(spec, Folder::Given(folder.to_owned())).await
    }

    /// What it was made from.
    pub fn spec(&self) -> &LabSpec {
        &self.spec
    }

    /// What its machines run on.
    pub fn accelerator(&self) -> Accelerator {
        self.accelerator
    }

    /// Its files.
    pub fn folder(&self) -> &Path {
        match &self.folder {
            Folder::Temporary(folder) => folder.path(),
            Folder::Given(folder) => folder,
        }
    }

    /// A machine by name.
    pub fn machine(&self, name: &str) -> Result<&Machine, LabError> {
        find(&self.machines, "machine", name)
    }

    /// A test host by name.
    pub fn host(&self, name: &str) -> Result<Host<'_>, LabError> {
        self.machine(name).map(Host::new)
    }

    /// A wire by name.
    pub fn wire(&self, name: &str) -> Result<&Wire, LabError> {
        find(&self.wires, "wire", name)
    }

    /// A namespace by name.
    pub fn namespace(&self, name: &str) -> Result<&Namespace, LabError> {
        find(&self.namespaces, "namespace", name)
    }

    /// All machines.
    pub fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    /// Where a machine's API is reached from this host.
    pub fn endpoint(&self, name: &str) -> Result<SocketAddr, LabError> {
        let endpoint = self.machine(name)?.endpoint();
        endpoint.ok_or_else(|| LabError::NoControl(name.to_owned()))
    }

    /// Everything's present state.
    pub async fn status(&self) -> LabStatus {
        let mut machines = Vec::new();
        for machine in self.machines.values() {
            machines.push(machine.status().await);
        }
        let names = self.namespaces.iter();
        LabStatus {
            name: self.spec.name.as_str().to_owned(),
            machines,
            wires: self.wires.values().map(Wire::status).collect(),
            namespaces: names
                .map(|(name, namespace)| {
                    (name.as_str().to_owned(), namespace.full_name().to_owned())
                })
                .collect(),
        }
    }

    /// Consoles, wires and namespaces as text, for a failing test to print.
    pub async fn state(&self) -> String {
        let mut parts = Vec::new();
        for machine in self.machines.values() {
            let said = machine.console_text().await;
            parts.push(format!("== machine {}\n{said}", machine.name()));
        }
        parts.extend(self.wires.values().map(|wire| format!("{:#?}", wire.status())));
        parts.extend(self.namespaces.values().map(Namespace::state));
        parts.join("\n")
    }

    /// Cuts every machine's power and waits until all are off.
    pub async fn switch_off(&self) -> Result<(), LabError> {
        for machine in self.machines.values() {
            if machine.is_on().await {
                machine.power_cut().await?;
            }
        }
        Ok(())
    }

    /// Ends the lab and removes the temporary folder. Dropping it does the same without waiting.
    pub async fn down(self) -> Result<(), LabError> {
        self.switch_off().await
    }
}

fn find<'a, T>(
    among: &'a BTreeMap<ObjectId, T>,
    kind: &'static str,
    name: &str,
) -> Result<&'a T, LabError> {
    let found = among.iter().find(|(known, _)| known.as_str() == name).map(|(_, found)| found);
    found.ok_or_else(|| {
        let known: Vec<&str> = among.keys().map(ObjectId::as_str).collect();
        LabError::NoSuch { kind, name: name.to_owned(), known: known.join(", ") }
    })
}
