//! `--keep`: what is left up, how to look around in it, and how to end it.

#![allow(clippy::print_stdout)] // this program talks to a person

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_lab::daemon::{Client, DaemonError};

use super::script::Stage;
use super::{LAB, Options, Scene};

fn note(folder: &Path) -> PathBuf {
    folder.join("manager.pid")
}

/// Leaves lab and manager running and says how to look around.
pub(super) fn leave(options: &Options, stage: Stage) -> Result<()> {
    let url = stage.cloud.manager.url();
    let token = stage.cloud.manager.token_file.clone();
    let pid = stage.cloud.manager.leave().context("the manager has ended")?;
    fs::write(note(&options.folder), pid.to_string())?;
    println!("\nEverything is still up. Look around:\n");
    let command = crate::bin("sluice");
    println!("  export SLUICE_MANAGER={url}");
    println!("  export SLUICE_TOKEN_FILE={}", token.display());
    println!("  alias sluice={}", command.display());
    let own = match options.scene {
        Scene::Network => NETWORK,
        Scene::Console => CONSOLE,
        Scene::Storage => STORAGE,
        Scene::Vpc | Scene::Lb | Scene::Vpn => ROUTER,
    };
    for (line, what) in own.iter().chain(LINES) {
        println!("  {line:<52} # {what}");
    }
    Ok(())
}

const NETWORK: &[(&str, &str)] = &[
    ("sluice network list; sluice guest list", "what the manager holds"),
    ("sluice appliance config r-1", "the configuration that was pushed"),
    ("sluice network update net1 --egress allow", "another change"),
    ("sluice logs r-1", "the router's log"),
    ("sluice lab exec vm1 -- ip addr", "a command on a guest"),
    ("sluice lab console r-1", "the router's console; Ctrl-] leaves"),
    ("sluice lab capture trunk -o - | tcpdump -enr -", "frames with their tags"),
];

const ROUTER: &[(&str, &str)] = &[
    ("sluice guest list; sluice public-ip list", "what the manager holds"),
    ("sluice appliance config r-1", "the configuration that was pushed"),
    ("sluice logs r-1", "the router's log"),
    ("sluice lab console r-1", "the router's console; Ctrl-] leaves"),
    ("sluice lab exec inet -- ip addr", "a command on the machine outside"),
];

const STORAGE: &[(&str, &str)] = &[
    ("sluice image-store list; sluice image list", "stores and images, and how far they are"),
    ("sluice logs s-1", "the log of the secondary storage VM"),
    ("sluice lab console s-1", "its console; Ctrl-] leaves"),
];

const CONSOLE: &[(&str, &str)] = &[
    ("sluice console vm1", "the screen in your browser, which does not know the certificate"),
    ("sluice console vm1 --print --any-browser", "a link for as many browsers as you like"),
    ("sluice console vm1 --who", "who is there"),
    ("sluice console vm1 --revoke", "end them all"),
    ("sluice logs p-1", "the proxy's log"),
];

const LINES: &[(&str, &str)] = &[
    ("sluice status", "wanted against reported"),
    ("sluice lab status", "machines and wires"),
    ("cargo xtask demo --down", "end everything"),
];

/// Ends the machines, if they run.
pub(super) async fn switch_off() -> Result<()> {
    match Client::find(Some(LAB)) {
        Ok(lab) => Ok(lab.down().await?),
        Err(DaemonError::NotUp(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Ends what an earlier run left up and removes its files.
pub async fn end(folder: &Path) -> Result<()> {
    switch_off().await?;
    if let Some(pid) = running_manager(folder) {
        // between the look and this call it may have ended by itself
        let _ended = kill(pid, Signal::SIGTERM);
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot empty {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The noted process, if it is still a manager on our store: process ids are used again.
fn running_manager(folder: &Path) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(note(folder)).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let store = folder.join("manager.db");
    let ours =
        command.split(|byte| *byte == 0).any(|word| word == store.as_os_str().as_encoded_bytes());
    ours.then(|| Pid::from_raw(pid))
}
