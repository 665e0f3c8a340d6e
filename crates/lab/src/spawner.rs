//! One thread that starts all child processes.
//!
//! Guarantees: a child started with a parent-death signal lives as long as this process, not as
//! long as the thread that happened to ask for it. The kernel ties that signal to the parent
//! *thread* (prctl(2)), and pool threads of async runtimes come and go.

use std::sync::mpsc;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

type Work = Box<dyn FnOnce() + Send>;

static SPAWNER: LazyLock<Mutex<mpsc::Sender<Work>>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<Work>();
    thread::spawn(move || receiver.into_iter().for_each(|work| work()));
    Mutex::new(sender)
});

/// Runs `work`, which starts a process, on the thread that lives as long as this process.
/// Inside an async runtime, `work` sees that runtime too.
pub(crate) fn on_spawner<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let runtime = tokio::runtime::Handle::try_current().ok();
    let (answer, result) = mpsc::sync_channel(1);
    let task = Box::new(move || {
        let _inside = runtime.as_ref().map(tokio::runtime::Handle::enter);
        // the asker waits below; it cannot be gone
        let _sent = answer.send(work());
    });
    SPAWNER.lock().unwrap_or_else(PoisonError::into_inner).send(task).ok()?;
    result.recv().ok()
}
