//! `sluice`, the command line: see `sluice_manager::cli`.

use std::process::ExitCode;

use clap::Parser as _;
use sluice_manager::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await
}
