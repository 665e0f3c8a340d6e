//! A daemon of others: kept running like a service of ours, but it is not spoken to.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sluice_api::report::ServiceState;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::child::Running;
use super::worker::{End, Job, Worker};

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
        running: &mut Running,
        socket: &Path,
        jobs: &mut mpsc::Receiver<Job>,
    ) -> End {
        let end = self.follow(running, socket, jobs).await;
        // its children are of no use without it
        signal_group(running.pid, Signal::SIGKILL);
        end
    }

    async fn follow(
        &mut self,
        running: &mut Running,
        socket: &Path,
        jobs: &mut mpsc::Receiver<Job>,
    ) -> End {
        let late = Instant::now() + PATIENCE;
        let mut ready = false;
        loop {
            if !ready && answers(socket).await {
                ready = true;
                self.in_force();
            }
            if !ready && Instant::now() > late {
                return End::Ended(format!("it did not open {}", socket.display()));
            }
            tokio::select! {
                exit = running.exit.clone() => return End::Ended(exit),
                () = sleep(LOOK_EVERY), if !ready => {}
                job = jobs.recv() => {
                    let Some(job) = job else {
                        goodbye(running).await;
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

/// Whether somebody listens there. A file alone says nothing: a daemon that was killed leaves its socket behind.
async fn answers(socket: &Path) -> bool {
    match tokio::time::timeout(LOOK_EVERY, tokio::net::UnixStream::connect(socket)).await {
        Ok(Ok(_)) => true,
        // one of datagrams, which cannot be asked
        Ok(Err(error)) => error.raw_os_error() == Some(nix::errno::Errno::EPROTOTYPE as i32),
        // so many wait there that it must be listening
        Err(_) => true,
    }
}

/// Asks the daemon to end, so that it can tell its peers; what does not go by itself is killed.
async fn goodbye(running: &Running) {
    signal_group(running.pid, Signal::SIGTERM);
    let _late = tokio::time::timeout(FAREWELL, running.exit.clone()).await;
}

/// To a process and its children, which are a process group.
pub(super) fn signal_group(pid: u32, signal: Signal) {
    // 0 and 1 are no daemon's
    let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 1) else { return };
    // nobody left is as good
    let _gone = killpg(Pid::from_raw(pid), signal);
}
