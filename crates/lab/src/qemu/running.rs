//! A QEMU process and the connections to it.
//!
//! Guarantees: dropping it kills QEMU; QEMU also dies with this process, even when that is killed.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};

use crate::spawner::on_spawner;
use crate::wait::Wait;

use super::console::ConsoleLog;
use super::error::{MachineError, OfMachine};
use super::guest::GuestChannel;
use super::layout::Layout;
use super::qmp::{Qmp, QmpError};

/// How long QEMU may take to open its monitor: it opens before the guest starts.
const START_BOUND: Duration = Duration::from_secs(30);
/// How long a killed QEMU may take to be gone.
const KILL_BOUND: Duration = Duration::from_secs(10);

/// A machine that is on, or was until a moment ago.
#[derive(Debug)]
pub(super) struct Running {
    name: String,
    pub(super) pid: u32,
    pub(super) console: ConsoleLog,
    pub(super) qmp: tokio::sync::Mutex<Qmp>,
    guest: tokio::sync::OnceCell<GuestChannel>,
    kill: Mutex<Option<oneshot::Sender<()>>>,
    ended: watch::Receiver<bool>,
}

impl Running {
    /// Starts QEMU and connects to its monitor.
    pub(super) async fn start(
        name: &str,
        layout: &Layout,
        arguments: Vec<OsString>,
    ) -> Result<Self, MachineError> {
        let console = ConsoleLog::from_now(&layout.console_log());
        let log = File::create(layout.qemu_log()).of(name, "write QEMU's log")?;
        let child = launch(layout.folder(), arguments, log).of(name, "start qemu-system-x86_64")?;
        let pid = child.id().unwrap_or_default();
        let (kill, killed) = oneshot::channel();
        let (ends, ended) = watch::channel(false);
        tokio::spawn(watch_over(child, killed, ends));
        let qmp = connect(name, layout, &ended).await?;
        Ok(Self {
            name: name.to_owned(),
            pid,
            console,
            qmp: tokio::sync::Mutex::new(qmp),
            guest: tokio::sync::OnceCell::new(),
            kill: Mutex::new(Some(kill)),
            ended,
        })
    }

    /// Whether QEMU runs.
    pub(super) fn is_on(&self) -> bool {
        !*self.ended.borrow()
    }

    /// Kills QEMU, as losing power would end the machine.
    pub(super) async fn kill(&self) -> Result<(), MachineError> {
        drop(self.kill.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.wait_end(KILL_BOUND).await
    }

    /// Waits for QEMU's end.
    pub(super) async fn wait_end(&self, bound: Duration) -> Result<(), MachineError> {
        let mut ended = self.ended.clone();
        let waited = tokio::time::timeout(bound, ended.wait_for(|ended| *ended)).await;
        let timed_out = || MachineError::TimedOut {
            machine: self.name.clone(),
            what: "its end".into(),
            bound,
            state: self.console.tail(),
        };
        // a watcher that is gone has seen the end
        waited.map(drop).map_err(|_| timed_out())
    }

    /// The command channel, connected at first use.
    pub(super) async fn guest(&self, layout: &Layout) -> Result<&GuestChannel, MachineError> {
        let connect = || async { GuestChannel::connect(&layout.guest()).await };
        let connected = self.guest.get_or_try_init(connect).await;
        connected.of(&self.name, "connect to the command channel")
    }
}

fn launch(folder: &Path, arguments: Vec<OsString>, log: File) -> std::io::Result<Child> {
    let setpriv = sluice_programs::command("setpriv").map_err(std::io::Error::other)?;
    let qemu = sluice_programs::find("qemu-system-x86_64").map_err(std::io::Error::other)?;
    let mut command = Command::from(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(qemu).args(arguments);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.kill_on_drop(true);
    let gone = || std::io::Error::other("the thread that starts processes is gone");
    on_spawner(move || command.spawn()).unwrap_or_else(|| Err(gone()))
}

/// Owns the process until it ends by itself or the other end of `killed` is used or dropped.
async fn watch_over(mut child: Child, killed: oneshot::Receiver<()>, ends: watch::Sender<bool>) {
    tokio::select! {
        status = child.wait() => tracing::debug!(?status, "machine ended"),
        _ = killed => {
            // an error means that it ended at this moment
            let _already_ended = child.kill().await;
        }
    }
    ends.send_replace(true);
}

async fn connect(
    name: &str,
    layout: &Layout,
    ended: &watch::Receiver<bool>,
) -> Result<Qmp, MachineError> {
    let path = layout.qmp();
    let answered = Wait::until_async(START_BOUND, "QEMU's monitor", || async {
        if *ended.borrow() {
            return Some(Err(None));
        }
        match Qmp::connect(&path).await {
            Ok(qmp) => Some(Ok(qmp)),
            Err(QmpError::Io(_)) => None, // not there yet
            Err(error) => Some(Err(Some(error))),
        }
    });
    let said = || std::fs::read_to_string(layout.qemu_log()).unwrap_or_default();
    let machine = name.to_owned();
    match answered.await {
        Ok(Ok(qmp)) => Ok(qmp),
        Ok(Err(Some(source))) => Err(MachineError::Monitor { machine, source }),
        Ok(Err(None)) => Err(MachineError::Ended { machine, said: said().trim().to_owned() }),
        Err(late) => Err(MachineError::TimedOut {
            machine,
            what: late.what,
            bound: late.bound,
            state: said(),
        }),
    }
}
