//! The demonstrations: a fresh manager, the template, guests and an "Internet", and what they do together.
//!
//! A scene is a description of a cloud and a script that plays on its machines; each has a file of its own.
//!
//! Guarantees: every line of the table was observed on the machines in this run; whatever fails ends it with the
//! machines' consoles shown. Nothing is left running, not after Ctrl-C either, unless `--keep` asks for it.

mod console;
mod kept;
mod lb;
mod script;
mod shown;
mod storage;
mod vpc;
mod vpn;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use sluice_api::boot::Role;
use sluice_lab::daemon::{Client, LabFolder};
use sluice_lab::spec::{Firmware, LabSpec};

use crate::cloud::{self, Cloud};
use crate::tunnels;

pub use kept::end;
use script::Stage;
use shown::Shown;

/// Name of the demonstration's lab.
const LAB: &str = "demo";
/// Words before the lab's subcommands on the demonstration's command line.
pub const LAB_PREFIX: &[&str] = &["lab"];

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scene {
    /// A network: leases, names, source NAT, an egress rule
    Network,
    /// A VM's screen in a browser, through a link of the manager's
    Console,
    /// Tunnels: an office, and a road warrior
    Vpn,
    /// Secondary storage: an import, its progress, a link to it, an upload, a copy
    Storage,
    /// The guide's VPC: tiers, access control lists, a private gateway, and why what passes
    Vpc,
    /// Three web servers behind one address: cookies, one killed and healed, a certificate swapped
    Lb,
}

impl Scene {
    /// The cloud's description, from the top of the tree.
    pub fn description(self) -> &'static str {
        match self {
            Self::Network => "examples/first-network.toml",
            Self::Console => crate::console::lab::DESCRIPTION,
            Self::Vpn => "examples/vpn.toml",
            Self::Storage => "examples/storage.toml",
            Self::Vpc => "examples/vpc.toml",
            Self::Lb => "examples/lb.toml",
        }
    }

    /// The description with what only a laboratory has, in `folder`.
    fn prepared(self, folder: &Path) -> Result<PathBuf> {
        match self {
            Self::Storage => crate::storage::description(folder, ""),
            _ => Ok(self.description().into()),
        }
    }

    /// The lab that its cloud needs.
    fn machines(self, cloud: &Cloud, folder: &Path) -> Result<LabSpec> {
        match self {
            Self::Network | Self::Vpc | Self::Lb => cloud.lab(LAB, Firmware::Bios),
            Self::Console => console::machines(cloud, folder),
            Self::Vpn => tunnels::example::with_road(cloud.lab(LAB, Firmware::Bios)?),
            Self::Storage => crate::storage::lab(cloud, LAB),
        }
    }

    async fn play(self, stage: &Stage, folder: &Path, shown: &mut Shown) -> Result<()> {
        match self {
            Self::Network => stage.play(shown).await,
            Self::Console => console::play(stage, folder, shown).await,
            Self::Vpn => stage.play_vpn(shown).await,
            Self::Storage => storage::play(stage, shown).await,
            Self::Vpc => stage.play_vpc(shown).await,
            Self::Lb => stage.play_lb(shown).await,
        }
    }
}

/// How the demonstration runs.
#[derive(Debug)]
pub struct Options {
    /// Where its files are; emptied first.
    pub folder: PathBuf,
    /// What is shown.
    pub scene: Scene,
    /// Leave everything up at the end.
    pub keep: bool,
}

/// Shows everything; an error when anything did not go as it must.
pub async fn run(options: &Options) -> Result<()> {
    end(&options.folder).await?;
    std::fs::create_dir_all(&options.folder)
        .with_context(|| format!("cannot make {}", options.folder.display()))?;
    let mut shown = Shown::default();
    let outcome = tokio::select! {
        outcome = show(options, &mut shown) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    };
    let outcome = match outcome {
        Ok(stage) if options.keep => kept::leave(options, stage),
        Ok(_) => Ok(()),
        Err(error) => {
            eprintln!("error: {error:#}\n{}", state(&options.folder));
            Err(error)
        }
    };
    if !options.keep || outcome.is_err() {
        kept::switch_off().await?;
    }
    shown.table();
    outcome
}

async fn show(options: &Options, shown: &mut Shown) -> Result<Stage> {
    let stage = set_up(options, shown).await?;
    options.scene.play(&stage, &options.folder, shown).await?;
    Ok(stage)
}

/// From nothing to machines that are switched on.
async fn set_up(options: &Options, shown: &mut Shown) -> Result<Stage> {
    let free = "127.0.0.1:0".parse().context("an address")?;
    let description = options.scene.description();
    let cloud = shown
        .step(&format!("a manager on a fresh store takes {description}"), async {
            let prepared = options.scene.prepared(&options.folder)?;
            let cloud = Cloud::start(&options.folder, &prepared, free).await?;
            let summary = summary(&cloud)?;
            Ok((summary, cloud))
        })
        .await?;
    let spec = options.scene.machines(&cloud, &options.folder)?;
    let started = Instant::now();
    let lab = shown
        .step("the template and the machines around it are switched on", async {
            let lab = Client::up(&spec, LAB_PREFIX).await?;
            let status = lab.status().await?;
            let accelerator = status.machines.first().map(|machine| machine.accelerator.clone());
            let detail =
                format!("{} machines, {}", status.machines.len(), accelerator.unwrap_or_default());
            Ok((detail, lab))
        })
        .await?;
    Ok(Stage { cloud, lab, started })
}

fn summary(cloud: &Cloud) -> Result<String> {
    let view = cloud.view()?;
    let networks = view.networks.iter().map(|network| {
        let router = network.router.as_ref().map_or("no router", |router| router.as_str());
        format!("{router} serves {} on VLAN {}", network.cidr, network.vlan)
    });
    let machines = view.appliances.iter().map(|one| format!("{} is a {}", one.id, word(one.role)));
    let all: Vec<_> =
        if view.networks.is_empty() { machines.collect() } else { networks.collect() };
    Ok(all.join(", "))
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Router => "router",
        Role::Proxy => "console proxy",
        Role::Ssvm => "secondary storage VM",
    }
}

/// The last words of every machine and of the manager.
fn state(folder: &Path) -> String {
    let lab = LabFolder::of(LAB).map(|lab| lab.path().to_owned());
    let consoles = lab.into_iter().flat_map(|lab| consoles(&lab));
    consoles.chain([format!("== manager\n{}", tail(&cloud::log(folder)))]).collect()
}

fn consoles(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let text = std::fs::read(entry.path().join("console.log")).ok()?;
            let text = tail(&String::from_utf8_lossy(&text));
            Some(format!("== {}\n{text}", entry.file_name().display()))
        })
        .collect()
}

fn tail(text: &str) -> String {
    const LINES: usize = 40;
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    last.iter().flat_map(|line| [line, "\n"]).collect()
}
