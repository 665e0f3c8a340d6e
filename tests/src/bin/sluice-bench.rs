//! `cargo xtask bench [NAME] [--json]`: ours beside the rival's, measured in one run.
//!
//! Exit code 0: measured, whether or not a budget holds; 1: a benchmark could not run; 2: wrong usage.

#![allow(clippy::print_stdout)] // this program talks to a person
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // as test support, it may fail loudly
#![allow(unreachable_pub)] // benchmarks are written as a library is

// of this program alone: in the library, everybody who runs the demonstration would build them
#[path = "../bench/mod.rs"]
mod bench;

use std::process::ExitCode;

use bench::Row;
use clap::Parser;
use sluice_tests::{bin, cloud, faults, hosts, image, manager, postgres, tunnels};

#[derive(Parser)]
#[command(name = "sluice-bench", about = "Measure ours beside the rival's")]
struct Arguments {
    /// Which benchmark; all of them by default
    name: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let known = bench::all();
    let chosen: Vec<_> = known
        .iter()
        .filter(|entry| arguments.name.as_deref().is_none_or(|name| name == entry.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = known.iter().map(|entry| entry.name).collect();
        eprintln!("error: there is no such benchmark; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    let mut code = ExitCode::SUCCESS;
    for entry in chosen {
        eprintln!("measuring {}: {}", entry.name, entry.what);
        match (entry.run)() {
            Ok(rows) => show(&rows, arguments.json),
            Err(error) => {
                eprintln!("error: {}: {error:#}", entry.name);
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn show(rows: &[Row], json: bool) {
    for row in rows {
        match serde_json::to_string(row) {
            Ok(line) if json => println!("{line}"),
            _ => println!("{row}"),
        }
    }
}
