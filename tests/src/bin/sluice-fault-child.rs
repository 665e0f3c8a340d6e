//! A router in memory that is killed at a chosen operation; the fault tests start it and look at what is left.
//!
//! `sluice-fault-child DIR OLD|NEW KIND NUMBER`: in the world of DIR pushes the old or the new example with one fault.

use std::path::Path;
use std::process::ExitCode;

use sluice_sys::kernel::{Fault, Moment};
use sluice_tests::faults::{FileFault, World, changed, example};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [dir, which, kind, number] = words.as_slice() else { return ExitCode::from(2) };
    let Ok(number) = number.parse::<u64>() else { return ExitCode::from(2) };
    let (kernel, files) = match kind.as_str() {
        "before" => (Fault::Kill(number, Moment::Before), FileFault::None),
        "after" => (Fault::Kill(number, Moment::After), FileFault::None),
        "file-before" => (Fault::None, FileFault::KillBefore(number)),
        "file-after" => (Fault::None, FileFault::KillAfter(number)),
        "file-torn" => (Fault::None, FileFault::Torn(number)),
        _ => return ExitCode::from(2),
    };
    let config = if which == "old" { example() } else { changed() };
    let Ok(body) = serde_json::to_vec(&config) else { return ExitCode::from(2) };
    let running = World::in_dir(Path::new(dir)).start(kernel, files).await;
    running.handle.push(body.into(), None).await;
    running.connections_judged().await;
    ExitCode::SUCCESS
}
