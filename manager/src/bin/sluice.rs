//! `sluice`, the command line: see `sluice_manager::cli`.

use std::process::ExitCode;

use clap::Parser as _;
use sluice_manager::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    run(Cli::parse()).await
}
