//! `sluice-manager`: see `sluice_manager::serve`. Ends 0 when told to stop, 1 when it could not go on, 2 on bad arguments.

use std::process::ExitCode;

use clap::Parser as _;
use sluice_manager::serve::{Program, run};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("SLUICE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Program::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
