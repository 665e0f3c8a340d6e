//! Running our own code inside a namespace.
//!
//! Guarantees: only a thread made for it enters the namespace, and it ends with the work, so no
//! other code ever runs there by accident. Limits: `/proc/net` and `/sys` show the process's first
//! namespace, not the thread's; use `/proc/thread-self/net`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::error::NetnsError;

/// Runs `work` on a thread of its own in the namespace, and waits for it.
pub(super) fn blocking<T: Send>(
    namespace: &str,
    work: impl FnOnce() -> T + Send,
) -> Result<T, NetnsError> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| switch_to(namespace).map(|()| work()));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs the future that `make` returns on a current-thread runtime in the namespace.
pub(super) fn runtime<T: Send, F: Future<Output = T>>(
    namespace: &str,
    make: impl FnOnce() -> F + Send,
) -> Result<T, NetnsError> {
    blocking(namespace, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| failed(namespace, "make a runtime", source))?;
        Ok(runtime.block_on(make()))
    })?
}

fn switch_to(namespace: &str) -> Result<(), NetnsError> {
    let file = File::open(Path::new("/run/netns").join(namespace))
        .map_err(|source| failed(namespace, "open the namespace", source))?;
    setns(&file, CloneFlags::CLONE_NEWNET)
        .map_err(|errno| failed(namespace, "enter the namespace", errno.into()))
}

fn failed(namespace: &str, action: &'static str, source: io::Error) -> NetnsError {
    NetnsError::Io { namespace: namespace.to_owned(), action, source }
}
