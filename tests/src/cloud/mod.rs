//! A whole small cloud: a real manager, the template as built, guests and an "Internet" machine on virtual wires.
//!
//! Guarantees: nothing on the path is simulated; the machines are what the manager says they must be (names, MACs,
//! VLANs, boot documents). What is asked of the machines goes through [`Shell`], so that the same steps run on a
//! lab of this process and on one in the background.

pub mod guest;
pub mod internet;
mod machines;
pub mod office;
mod shell;
pub mod single;
pub mod web;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sluice_lab::spec::{Firmware, LabSpec};
use sluice_manager::kinds::private_gateway::PrivateGateway;
use sluice_manager::model::view::{Appliance, ApplianceStatus, Guest, Network};

use crate::manager::Manager;

pub use machines::{INTERNET, PUBLIC, STORAGE, TRUNK};
pub use shell::Shell;

/// What the manager holds of the cloud.
#[derive(Debug)]
pub struct View {
    /// Guest networks.
    pub networks: Vec<Network>,
    /// Guests.
    pub guests: Vec<Guest>,
    /// System VMs.
    pub appliances: Vec<Appliance>,
    /// Private gateways of VPCs.
    pub gateways: Vec<PrivateGateway>,
}

/// A manager with a cloud in its store, and where the machines' files are.
#[derive(Debug)]
pub struct Cloud {
    /// The manager.
    pub manager: Manager,
    folder: PathBuf,
}

impl Cloud {
    /// Starts a manager on a fresh store in `folder` and applies the description.
    pub async fn start(folder: &Path, description: &Path, listen: SocketAddr) -> Result<Self> {
        let manager = Manager::start(folder, listen, &[]).await?;
        let cloud = Self { manager, folder: folder.to_owned() };
        cloud.apply(description)?;
        Ok(cloud)
    }

    /// `sluice apply`; returns what it printed.
    pub fn apply(&self, description: &Path) -> Result<String> {
        let file = description.to_str().context("the description's path is not UTF-8")?;
        self.manager.done(["apply", file, "--yes"])
    }

    /// Everything the manager holds.
    pub fn view(&self) -> Result<View> {
        let ids: Vec<Appliance> = self.manager.ask(["appliance", "list"])?;
        Ok(View {
            networks: self.manager.ask(["network", "list"])?,
            guests: self.manager.ask(["guest", "list"])?,
            appliances: ids,
            gateways: self.manager.ask(["private-gateway", "list"])?,
        })
    }

    /// The description of a lab with all of the cloud's machines; writes the boot documents that it names.
    pub fn lab(&self, name: &str, firmware: Firmware) -> Result<LabSpec> {
        let view = self.view()?;
        for appliance in &view.appliances {
            let file = self.boot_document(appliance);
            let file = file.to_str().context("the folder's path is not UTF-8")?;
            self.manager.done(["appliance", "boot-document", appliance.id.as_str(), "-o", file])?;
        }
        let documents = |appliance: &Appliance| self.boot_document(appliance);
        machines::lab(name, &view, firmware, &documents)
    }

    /// A file beside the manager's, such as one that a command reads.
    pub fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    fn boot_document(&self, appliance: &Appliance) -> PathBuf {
        self.folder.join(format!("{}.boot.json", appliance.id))
    }

    /// Tells the manager where the lab forwards an appliance's API.
    pub fn endpoint(&self, appliance: &str, endpoint: SocketAddr) -> Result<()> {
        let endpoint = endpoint.to_string();
        self.manager.done(["appliance", "endpoint", appliance, &endpoint]).map(drop)
    }

    /// Waits until every appliance runs what is wanted, and returns what they report.
    pub fn in_sync(&self, seconds: u32) -> Result<Vec<ApplianceStatus>> {
        self.manager.ask(["status", "--wait", &seconds.to_string()])
    }

    /// What the managers logged, for a failure to print.
    pub fn log(&self) -> String {
        log(&self.folder)
    }
}

/// What the managers said that kept their files in `folder`.
pub(crate) fn log(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut logs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    logs.retain(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"))
    });
    logs.sort();
    logs.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

impl View {
    /// The network of this name.
    pub fn network(&self, name: &str) -> Result<&Network> {
        let found = self.networks.iter().find(|network| network.name.as_str() == name);
        found.with_context(|| format!("the manager has no network {name}"))
    }

    /// The address with which guests of the network of this name leave.
    pub fn source_nat(&self, network: &str) -> Result<Ipv4Addr> {
        self.network(network)?.source_nat.with_context(|| format!("{network} has no way out"))
    }

    /// The guest of this name.
    pub fn guest(&self, name: &str) -> Result<&Guest> {
        let found = self.guests.iter().find(|guest| guest.name.as_str() == name);
        found.with_context(|| format!("the manager has no guest {name}"))
    }

    /// The address that a guest must get.
    pub fn address(&self, guest: &str) -> Result<Ipv4Addr> {
        let nic = self.guest(guest)?.nics.first();
        nic.map(|nic| nic.address).with_context(|| format!("{guest} has no NIC"))
    }
}
