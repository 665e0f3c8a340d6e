//! `sluice-ssvm`: the secondary storage VM's one binary: agent, storage service, and commands for a desk.
//!
//! Exit codes: 0 done; 1 something failed; 2 wrong usage; 65 and 66 tell PID 1 to power off and to restart.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use sluice_ssvm::appliance::{Folders, STORES, Ssvm};
use sluice_ssvm::{desk, service};

#[derive(Parser)]
#[command(name = "sluice-ssvm", version, about = "The secondary storage VM")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent: what PID 1 starts on an appliance
    Agent(sluice_agent::Options),
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
    /// What takes packets apart for the agent's diagnostics
    Reader,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Agent(options) => {
            let folders = Folders::new(&options.data, Path::new(STORES));
            let ssvm = Ssvm::new(folders).context("cannot prepare the storage folders")?;
            return Ok(sluice_agent::run(ssvm, &options));
        }
        Command::Service(Service::Storage) => {
            sluice_agent::service::log();
            service::run()?;
        }
        Command::Service(Service::Reader) => sluice_agent::read_packets()?,
        Command::Serve(args) => {
            log_to_stderr();
            args.run()?;
        }
        Command::Inspect(args) => args.run()?,
        Command::Import(args) => {
            log_to_stderr();
            args.run()?;
        }
        Command::Token => desk::token()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn log_to_stderr() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
}
