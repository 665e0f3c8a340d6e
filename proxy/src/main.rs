//! `sluice-proxy`: the console proxy's one binary: its service, and a command for a desk.
//!
//! Exit codes: 0 done; 1 something failed; 2 wrong usage.

#![allow(clippy::print_stdout)] // the desk commands talk to a person

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use sluice_proxy::{desk, service};

#[derive(Parser)]
#[command(name = "sluice-proxy", version, about = "The console proxy")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one service; the agent does this, with the control channel on standard input
    #[command(subcommand)]
    Service(Service),
    /// Serve consoles without an agent, on a desk or a test bench
    Serve(desk::ServeArgs),
}

#[derive(Subcommand)]
enum Service {
    /// The consoles
    Console,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Service(Service::Console) => {
            let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false);
            log.without_time().init();
            Ok(service::run()?)
        }
        Command::Serve(args) => {
            tracing_subscriber::fmt().with_writer(std::io::stderr).init();
            desk::run(&args)
        }
    }
}
