//! `sluice-router`: the virtual router's one binary: agent, services, and commands for a desk.
//!
//! Exit codes: 0 done; 1 something failed; 2 wrong usage; 3 the configuration is not sound; 12 a connection that was asked
//! about does not pass; 65 and 66 tell PID 1 to power off and to restart. Those up to 11 mean what they do of `sluice`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use sluice_api::{Finding, RouterDocument};
use sluice_router::explain::{self, ExplainArgs};
use sluice_router::vpn::{daemon, ike, lns};
use sluice_router::{Router, SliceArgs, desk, dhcp, dns, lb, metadata, password, ra, uplinks};
use sluice_sys::stdout;

/// The configuration has errors.
const UNSOUND: u8 = 3;
/// What was explained is lost: dropped, refused, or without a way.
const LOST: u8 = 12;

#[derive(Parser)]
#[command(name = "sluice-router", version, about = "The virtual router")]
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
    /// Say what is wrong with a configuration
    Check {
        /// The configuration, JSON
        config: PathBuf,
        /// Findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the nft script of a configuration
    Render {
        /// The configuration, JSON
        config: PathBuf,
    },
    /// Print what changes from one configuration to another
    Plan {
        /// The configuration in force; `-` for a router without one
        old: PathBuf,
        /// The configuration to come
        new: PathBuf,
    },
    /// Say what becomes of a connection under a configuration, and which rule decides it
    Explain(ExplainArgs),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Serve DHCP without an agent, on a desk or a test bench
    Dhcp(SliceArgs),
    /// Serve DNS without an agent, on a desk or a test bench
    Dns(SliceArgs),
    /// Balance load without an agent, on a desk or a test bench
    Lb(lb::desk::LbArgs),
    /// Serve metadata without an agent, on a desk or a test bench
    Metadata(SliceArgs),
    /// Serve passwords without an agent, on a desk or a test bench
    Password(SliceArgs),
}

#[derive(Subcommand)]
enum Service {
    /// The DHCP server
    Dhcp,
    /// The name service
    Dns,
    /// What drives the IKE daemon
    Ike,
    /// The L2TP server of remote access
    L2tp,
    /// The load balancer
    Lb,
    /// The metadata service
    Metadata,
    /// The password server
    Password,
    /// Router advertisements
    Ra,
    /// What takes packets apart for the agent's diagnostics
    Reader,
    /// The watch over uplinks
    Uplinks,
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
        Command::Agent(options) => return Ok(sluice_agent::run(Router, &options)),
        Command::Service(service) => serve(&service)?,
        Command::Check { config, json } => return check(&config, json),
        Command::Render { config } => return render(&config),
        Command::Plan { old, new } => return plan(&old, &new),
        Command::Explain(args) => return explain(&args),
        Command::Schema => {
            let schema = sluice_api::schema::router_config();
            stdout::line(serde_json::to_string_pretty(&schema)?)?;
        }
        Command::Dhcp(args) => {
            log_to_stderr();
            dhcp::desk::run(&args)?;
        }
        Command::Dns(args) => {
            log_to_stderr();
            dns::desk::run(&args)?;
        }
        Command::Lb(args) => {
            log_to_stderr();
            lb::desk::run(&args)?;
        }
        Command::Metadata(args) => {
            log_to_stderr();
            metadata::desk::run(&args)?;
        }
        Command::Password(args) => {
            log_to_stderr();
            password::desk::run(&args)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(service: &Service) -> Result<()> {
    sluice_agent::service::log();
    match service {
        Service::Dhcp => Ok(dhcp::process::run()?),
        Service::Dns => Ok(dns::service::run()?),
        Service::Ike => {
            let engine = daemon::Engine::here().drive()?;
            Ok(ike::service::run(|| engine)?)
        }
        Service::L2tp => Ok(lns::service::run()?),
        Service::Lb => Ok(lb::service::run()?),
        Service::Metadata => Ok(metadata::process::run()?),
        Service::Password => Ok(password::process::run()?),
        Service::Ra => Ok(ra::process::run()?),
        Service::Reader => Ok(sluice_agent::read_packets()?),
        Service::Uplinks => Ok(uplinks::process::run()?),
    }
}

fn log_to_stderr() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
}

fn check(path: &Path, json: bool) -> Result<ExitCode> {
    let (findings, sound) = match desk::load(path)? {
        Ok((_, warnings)) => (warnings, true),
        Err(findings) => (findings, false),
    };
    if json {
        stdout::line(serde_json::to_string(&findings)?)?;
    } else if findings.is_empty() {
        stdout::line("sound")?;
    } else {
        print_findings(&findings)?;
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(UNSOUND) })
}

fn print_findings(findings: &[Finding]) -> Result<()> {
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    Ok(stdout::line(lines.join("\n"))?)
}

/// A configuration that has to be sound; if it is not, that is what is said.
fn sound(path: &Path) -> Result<Option<RouterDocument>> {
    match desk::load(path)? {
        Ok((config, _)) => Ok(Some(config)),
        Err(findings) => {
            let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
            eprintln!("error: {} is not sound:\n{}", path.display(), lines.join("\n"));
            Ok(None)
        }
    }
}

fn render(path: &Path) -> Result<ExitCode> {
    let Some(config) = sound(path)? else { return Ok(ExitCode::from(UNSOUND)) };
    stdout::print(desk::render(&config))?;
    Ok(ExitCode::SUCCESS)
}

fn explain(args: &ExplainArgs) -> Result<ExitCode> {
    let Some(config) = sound(&args.config)? else { return Ok(ExitCode::from(UNSOUND)) };
    let explanation = explain::explain(&config, &args.question())?;
    if args.json {
        stdout::line(serde_json::to_string_pretty(&explanation)?)?;
    } else {
        stdout::print(&explanation)?;
    }
    Ok(if explanation.passes() { ExitCode::SUCCESS } else { ExitCode::from(LOST) })
}

fn plan(old: &Path, new: &Path) -> Result<ExitCode> {
    let unsound = Ok(ExitCode::from(UNSOUND));
    let old = match old {
        none if none == Path::new("-") => None,
        file => match sound(file)? {
            Some(config) => Some(config),
            None => return unsound,
        },
    };
    let Some(new) = sound(new)? else { return unsound };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    stdout::print(runtime.block_on(desk::change(old.as_ref(), &new))?)?;
    Ok(ExitCode::SUCCESS)
}
