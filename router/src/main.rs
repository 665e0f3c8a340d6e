//! The virtual router's binary.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use sluice_router::{dhcp, dns};

#[derive(Parser)]
#[command(name = "sluice-router", version, about = "The virtual router")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve DHCP without an agent, on a desk or a test bench
    Dhcp(dhcp::desk::DeskArgs),
    /// Serve DNS without an agent, on a desk or a test bench
    Dns(dns::desk::DeskArgs),
    /// Run as a service of the agent, which gives it its control channel on standard input
    #[command(subcommand)]
    Service(Service),
}

#[derive(Subcommand)]
enum Service {
    /// The DHCP server
    Dhcp,
    /// The name service
    Dns,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    match command {
        Command::Dhcp(args) => dhcp::desk::run(args),
        Command::Dns(args) => dns::desk::run(args),
        Command::Service(Service::Dhcp) => Ok(dhcp::process::run()?),
        Command::Service(Service::Dns) => Ok(dns::service::run()?),
    }
}
