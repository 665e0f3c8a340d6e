//! A router in memory that is killed at a chosen operation; the fault tests start it and look at what is left.
//!
//! `sluice-fault-child DIR OLD|NEW KIND NUMBER`: in the world of DIR pushes the old or the new example with one fault.
//! `sluice-fault-child takeover ...`: an agent that comes up and dies at a step ([`takeover`]).
//! `sluice-fault-child service lb`: the balancer that it starts.

use std::path::Path;
use std::process::ExitCode;

use sluice_sys::kernel::{Fault, Moment};
use sluice_tests::faults::{FileFault, World, changed, example};
use sluice_tests::takeover::{self, Course};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["service", "lb"] => done(sluice_router::lb::service::run()),
        ["takeover", course @ ..] => match Course::read(course) {
            Some(course) => done(run(takeover::run(course))),
            None => ExitCode::from(2),
        },
        [dir, which, kind, number] => run(faulty(dir, which, kind, number)),
        _ => ExitCode::from(2),
    }
}

#[allow(clippy::expect_used)] // a child of tests may fail loudly
fn run<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(task)
}

fn done<E: std::fmt::Display>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn faulty(dir: &str, which: &str, kind: &str, number: &str) -> ExitCode {
    let Ok(number) = number.parse::<u64>() else { return ExitCode::from(2) };
    let (kernel, files) = match kind {
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
