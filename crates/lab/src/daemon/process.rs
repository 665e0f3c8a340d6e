//! The background process: started by `up`, serves until `down` or a signal.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::lab::Lab;
use crate::spec::LabSpec;

use super::error::DaemonError;
use super::folder::LabFolder;
use super::server::serve;

/// Hidden subcommand that the program re-executes itself with.
pub(crate) const SUBCOMMAND: &str = "lab-daemon";

/// Starts this program again as the background process of `folder`. `prefix` are the words before
/// the lab's subcommands on this program's command line.
pub(crate) fn launch(folder: &LabFolder, prefix: &[&str]) -> Result<Child, DaemonError> {
    let failed = |source| DaemonError::Folder { path: folder.log(), source };
    let log = File::create(folder.log()).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(prefix).arg(SUBCOMMAND).arg(folder.path());
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
    // a group of its own: Ctrl-C at the terminal is meant for the command, not for the lab
    command.process_group(0).spawn().map_err(failed)
}

/// Runs the lab that is described in `folder` until it is told to end.
pub async fn run(folder: &Path) -> Result<(), DaemonError> {
    let folder = LabFolder::at(folder);
    // a session of its own, so that closing the terminal does not end the lab; it fails only when
    // there is one already
    let _own_session = nix::unistd::setsid();
    let _lock = folder.take()?;
    let failed = |source| DaemonError::Folder { path: folder.spec(), source };
    let text = std::fs::read(folder.spec()).map_err(failed)?;
    let spec: LabSpec =
        serde_json::from_slice(&text).map_err(std::io::Error::from).map_err(failed)?;
    let lab = Arc::new(Lab::start_in(spec, folder.path()).await?);
    let listener = UnixListener::bind(folder.socket()).map_err(failed)?;
    tokio::select! {
        () = serve(&lab, listener) => tracing::info!("told to end"),
        () = ended_by_signal() => tracing::info!("ended by a signal"),
    }
    lab.switch_off().await?;
    folder.remove()
}

async fn ended_by_signal() {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
    let [Ok(mut terminate), Ok(mut interrupt)] = kinds.map(signal) else {
        // without handlers the signals end the process at once, and the machines with it
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
