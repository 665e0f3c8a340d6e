//! The demonstrations: a fresh manager, the template, guests and an "Internet", and what they do together.
//!
//! A scene is a description of a cloud and a script that plays on its machines; each has a file of its own.
//!
//! Guarantees: every line of the table was observed on the machines in this run; whatever fails ends it with the
//! machines' consoles shown. Nothing is left running, not after Ctrl-C either, unless `--keep` asks for it.

mod kept;
mod script;
mod shown;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use sluice_lab::daemon::{Client, LabFolder};
use sluice_lab::spec::Firmware;

use crate::cloud::{self, Cloud};

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
}

impl Scene {
    /// The cloud's description, from the top of the tree.
    pub fn description(self) -> &'static str {
        match self {
            Self::Network => "examples/first-network.toml",
        }
    }

    async fn play(self, stage: &Stage, shown: &mut Shown) -> Result<()> {
        match self {
            Self::Network => stage.play(shown).await,
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
        Ok(stage) if options.keep => kept::leave(&options.folder, stage),
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
    options.scene.play(&stage, shown).await?;
    Ok(stage)
}

/// From nothing to machines that are switched on.
async fn set_up(options: &Options, shown: &mut Shown) -> Result<Stage> {
    let free = "127.0.0.1:0".parse().context("an address")?;
    let description = options.scene.description();
    let cloud = shown
        .step(&format!("a manager on a fresh store takes {description}"), async {
            let cloud = Cloud::start(&options.folder, Path::new(description), free).await?;
            let summary = summary(&cloud)?;
            Ok((summary, cloud))
        })
        .await?;
    let spec = cloud.lab(LAB, Firmware::Bios)?;
    let started = Instant::now();
    let lab = shown
        .step("the template, the guests and inet are switched on", async {
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
    Ok(networks.collect::<Vec<_>>().join(", "))
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
