//! `sluice-proxy`: the console proxy's one binary: agent, console service, and a command for a desk.
//!
//! Exit codes: 0 done; 1 something failed; 2 wrong usage; 65 and 66 tell PID 1 to power off and to restart.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use sluice_proxy::appliance::Proxy;
use sluice_proxy::{desk, service};

#[derive(Parser)]
#[command(name = "sluice-proxy", version, about = "The console proxy")]
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
    /// Serve consoles without an agent, on a desk or a test bench
    Serve(desk::ServeArgs),
}

#[derive(Subcommand)]
enum Service {
    /// The consoles
    Console,
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
        Command::Agent(options) => return Ok(sluice_agent::run(Proxy, &options)),
        Command::Service(Service::Console) => {
            sluice_agent::service::log();
            service::run()?;
        }
        Command::Service(Service::Reader) => sluice_agent::read_packets()?,
        Command::Serve(args) => {
            tracing_subscriber::fmt().with_writer(std::io::stderr).init();
            desk::run(&args)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
