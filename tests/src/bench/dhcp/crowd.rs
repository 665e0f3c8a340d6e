//! Threads that want the server's core too, so that the load, which needs more time per exchange than our server does,
//! can offer a multiple of what the server holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Result;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// So many leave the server a fifth of its core.
const SIZE: usize = 4;
/// The core that the servers are pinned to.
const CORE: usize = 0;

/// The threads; dropping it ends them.
pub(super) struct Crowd {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// Starts them.
    pub(super) fn new() -> Result<Self> {
        let mut core = CpuSet::new();
        core.set(CORE)?;
        let over = Arc::new(AtomicBool::new(false));
        let threads = (0..SIZE).map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                // one that is not pinned would take the load's core, and the load would offer less, which shows
                let _ = sched_setaffinity(Pid::from_raw(0), &core);
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        Ok(Self { threads: threads.collect(), over })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
