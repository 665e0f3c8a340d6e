//! A daemon of others: kept running like a service of ours, but it is not spoken to.

use std::path::Path;
use std::time::Duration;

use sluice_api::report::ServiceState;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::child::Running;
use super::worker::{End, Job, Worker, ended};

/// Between two looks for the socket.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long it may take to open it.
const PATIENCE: Duration = Duration::from_secs(9);
/// How long it has to say goodbye to its peers before it is killed.
const FAREWELL: Duration = Duration::from_secs(2);

impl Worker {
    /// Keeps a daemon until it ends or nobody needs it. Each slice is in force when `socket` is there.
    pub(super) async fn keep_foreign(
        &mut self,
        mut running: Running,
        socket: &Path,
        jobs: &mut mpsc::Receiver<Job>,
    ) -> End {
        let late = Instant::now() + PATIENCE;
        let mut ready = false;
        loop {
            if !ready && socket.exists() {
                ready = true;
                self.in_force();
            }
            if !ready && Instant::now() > late {
                return End::Ended(format!("it did not open {}", socket.display()));
            }
            tokio::select! {
                exit = &mut running.launched.exit => return End::Ended(ended(exit)),
                () = sleep(LOOK_EVERY), if !ready => {}
                job = jobs.recv() => {
                    let Some(job) = job else {
                        goodbye(&mut running).await;
                        return End::Dismissed;
                    };
                    self.adopt(job);
                    if ready {
                        self.in_force();
                    }
                }
            }
        }
    }

    /// Whoever waits for the newest slice hears that it is in force.
    fn in_force(&mut self) {
        let Some(generation) = self.newest() else { return };
        self.show(|status| {
            status.state = ServiceState::Running;
            status.generation = Some(generation);
        });
        self.reply(generation, Ok(()));
    }
}

/// Asks the daemon to end, so that it can tell its peers.
async fn goodbye(running: &mut Running) {
    // 0 and 1 are no daemon's
    let pid = i32::try_from(running.launched.pid).ok().filter(|pid| *pid > 1);
    let Some(pid) = pid else { return };
    let asked =
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    if asked.is_ok() {
        // what does not go by itself is killed when it is dropped
        let _late = tokio::time::timeout(FAREWELL, &mut running.launched.exit).await;
    }
}
