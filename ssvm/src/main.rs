//! `sluice-ssvm`: the secondary storage VM's one binary: the storage service, and commands for a desk.
//!
//! Exit codes: 0 done; 1 something failed; 2 wrong usage.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use sluice_ssvm::{desk, service};

#[derive(Parser)]
#[command(name = "sluice-ssvm", version, about = "The secondary storage VM")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one service; the agent does this, with the control channel on standard input
    #[command(subcommand)]
    Service(Service),
    /// Serve a slice without an agent, on a desk or a test bench
    Serve(desk::ServeArgs),
    /// Say what an image is, or why it would not be let in
    Inspect(desk::InspectArgs),
    /// Bring an image into a directory
    Import(desk::ImportArgs),
    /// Make a token for a grant
    Token,
}

#[derive(Subcommand)]
enum Service {
    /// Stores, jobs, up- and downloads
    Storage,
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
        Command::Service(Service::Storage) => {
            // a service's log goes to the agent, which adds the time
            tracing_subscriber::fmt()
                .with_writer(std::io::stderr)
                .with_ansi(false)
                .without_time()
                .init();
            Ok(service::run()?)
        }
        Command::Serve(args) => {
            log_to_stderr();
            args.run()
        }
        Command::Inspect(args) => args.run(),
        Command::Import(args) => {
            log_to_stderr();
            args.run()
        }
        Command::Token => desk::token(),
    }
}

fn log_to_stderr() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
}
