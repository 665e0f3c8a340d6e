//! `sluice lab`: labs at the command line.
//!
//! Guarantees: exit code 0 when what was asked is done; `exec` ends with the command's own code.
//! Errors say what to do next. Whoever embeds [`LabCommand`] gives the words that come before it,
//! because the background process is this program again.

mod capture;
mod console;
mod exec;
mod show;
mod up;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use sluice_sys::stdout;

use crate::daemon::{self, Client, Power, Reply, Request};
use crate::wire::Percent;

/// Which lab is meant.
#[derive(Debug, Clone, clap::Args)]
pub struct Which {
    /// The lab's name; not needed while only one is up
    #[arg(long, env = "SLUICE_LAB", value_name = "NAME")]
    lab: Option<String>,
}

impl Which {
    fn find(&self) -> Result<Client> {
        Ok(Client::find(self.lab.as_deref())?)
    }
}

/// Virtual wires and machines
#[derive(Debug, Clone, clap::Subcommand)]
pub enum LabCommand {
    /// Start what FILE describes, in the background
    Up {
        /// A lab file (see docs/lab.md)
        file: PathBuf,
        /// Only check the file
        #[arg(long)]
        check: bool,
    },
    /// Show machines, wires and where to reach them
    Status {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Attach to a machine's serial console; Ctrl-] leaves
    Console {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// The machine
        node: String,
    },
    /// Run a command on a test host or in a namespace
    Exec {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// The test host or namespace
        node: String,
        /// End the command after this many seconds
        #[arg(long, default_value_t = 60)]
        timeout: u64,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Write a wire's frames to a pcap file, until Ctrl-C
    Capture {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// The wire
        wire: String,
        /// Stop after this many seconds
        #[arg(long)]
        seconds: Option<u64>,
        /// The file; `-` is standard output, for `tcpdump -r -`
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Cut a wire: nothing passes until it is healed
    Cut {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// The wire
        wire: String,
    },
    /// Heal a cut wire
    Heal {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// The wire
        wire: String,
    },
    /// Lose a share of a wire's frames
    Loss {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// The wire
        wire: String,
        /// 0 to 100 percent
        percent: f64,
    },
    /// Delay a wire's frames
    Delay {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// The wire
        wire: String,
        /// Milliseconds, 0 to 10000
        ms: u32,
        /// Up to this many milliseconds more, at random
        #[arg(long, default_value_t = 0)]
        jitter: u32,
    },
    /// Switch a machine off or on, cut its power, reset it, halt it or let it go on
    Power {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// The machine
        node: String,
        /// What to do
        to: Power,
    },
    /// Drop or restore the carrier of a machine's NIC, as pulling its cable would
    Carrier {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// The machine
        node: String,
        /// Number of the NIC; 0 is the first of the lab file
        nic: usize,
        /// What the NIC is to see
        to: Carrier,
    },
    /// Unplug a NIC from a machine that runs
    Unplug {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// The machine
        node: String,
        /// Number of the NIC; 0 is the first of the lab file
        nic: usize,
    },
    /// Run a command of QEMU's monitor (QMP) and print its answer
    Monitor {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
        /// The machine
        node: String,
        /// Such as `query-status`
        command: String,
        /// Its arguments as a JSON object
        #[arg(default_value = "{}", value_parser = json)]
        arguments: serde_json::Value,
    },
    /// End a lab and remove what it left
    Down {
        /// Which lab is meant
        #[command(flatten)]
        which: Which,
    },
    /// The background process of `up`
    #[command(name = daemon::SUBCOMMAND, hide = true)]
    Daemon {
        /// The lab's folder
        folder: PathBuf,
    },
}

/// What a NIC sees of its cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Carrier {
    /// No carrier
    Down,
    /// A carrier
    Up,
}

fn json(text: &str) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_str(text)
}

impl LabCommand {
    /// Carries the command out. `prefix` are the words between the program and the lab's
    /// subcommands on its command line: `["lab"]` for `sluice lab up`.
    pub async fn run(self, prefix: &[&str]) -> Result<ExitCode> {
        match self {
            Self::Up { file, check } => up::up(&file, check, prefix).await?,
            Self::Status { which, json } => show::status(&which.find()?, json).await?,
            Self::Console { which, node } => console::attach(&which.find()?, &node).await?,
            Self::Exec { which, node, timeout, command } => {
                return exec::exec(&which.find()?, &node, timeout, &command).await;
            }
            Self::Capture { which, wire, seconds, output } => {
                capture::capture(&which.find()?, &wire, seconds, &output).await?;
            }
            Self::Cut { which, wire } => done(&which, Request::Cut { wire, cut: true }).await?,
            Self::Heal { which, wire } => done(&which, Request::Cut { wire, cut: false }).await?,
            Self::Loss { which, wire, percent } => {
                done(&which, Request::Loss { wire, percent: Percent::new(percent)? }).await?;
            }
            Self::Delay { which, wire, ms, jitter } => {
                let request = Request::Delay { wire, delay_ms: ms, jitter_ms: jitter };
                done(&which, request).await?;
            }
            Self::Power { which, node, to } => done(&which, Request::Power { node, to }).await?,
            Self::Carrier { which, node, nic, to } => {
                let up = to == Carrier::Up;
                done(&which, Request::Carrier { node, nic, up }).await?;
            }
            Self::Unplug { which, node, nic } => {
                done(&which, Request::Unplug { node, nic }).await?;
            }
            Self::Monitor { which, node, command, arguments } => {
                let request = Request::Monitor { node, command, arguments };
                if let Reply::Answer(answer) = which.find()?.ask(&request).await? {
                    stdout::line(format_args!("{answer:#}"))?;
                }
            }
            Self::Down { which } => down(&which).await?,
            Self::Daemon { folder } => daemon::run(&folder).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn done(which: &Which, request: Request) -> Result<()> {
    which.find()?.ask(&request).await?;
    Ok(())
}

async fn down(which: &Which) -> Result<()> {
    let found = which.find();
    if let Ok(client) = &found {
        client.down().await?;
        return Ok(stdout::line("lab: down")?);
    }
    let cleaned = Client::clean_dead()?;
    if cleaned.is_empty() {
        found.map(drop)
    } else if which.lab.as_ref().is_some_and(|lab| !cleaned.contains(lab)) {
        bail!("no such lab; removed what these had left: {}", cleaned.join(", "))
    } else {
        Ok(stdout::line(format_args!("lab: removed what was left of {}", cleaned.join(", ")))?)
    }
}
