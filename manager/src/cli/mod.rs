//! `sluice`, the command line over the manager's API.
//!
//! Guarantees: answers on standard output (tables, or JSON with `--json`), errors with a hint on standard error, exit
//! codes of [`exit`]; every change carries a request id, so that a broken connection is tried again without doing
//! anything twice. Not here: any rule about the cloud; the manager judges.

mod administration;
mod appliance;
mod apply;
mod client;
mod console;
mod diagnostics;
pub mod exit;
mod explain;
mod image_store;
mod kinds;
mod machine;
mod object;
mod output;
mod status;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod usage;
mod waiting;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};
use reqwest::Method;

use self::appliance::ApplianceCommand;
use self::client::{Client, Place};
use self::kinds::Kinds;

pub use self::client::Failure;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, about = "Networks and system VMs of a cloud")]
#[command(after_help = exit::HELP)]
pub struct Cli {
    #[command(flatten)]
    place: Place,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    /// Wait until the change is in force (`status`: until all is), at most so many seconds.
    #[arg(long, global = true, value_name = "SECONDS")]
    wait: Option<u64>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Object(Kinds),
    /// System VMs.
    #[command(subcommand)]
    Appliance(ApplianceCommand),
    /// Wanted against reported, for every appliance.
    Status(status::StatusArgs),
    /// Make the cloud what a file says: shows the difference, asks, then changes it in one transaction.
    Apply(apply::ApplyArgs),
    /// Show the difference between the cloud and a file; exit code 10 when there is one.
    Diff(apply::DiffArgs),
    /// Print the cloud as a description that applies empty.
    Export,
    /// The same as `appliance plan`.
    #[command(hide = true)]
    Plan {
        /// Its id.
        appliance: String,
    },
    /// Why a connection passes or does not: the rules that it meets, what becomes of its addresses, who decides.
    Explain(explain::ExplainArgs),
    /// The same as `appliance boot-document`.
    #[command(hide = true)]
    BootDocument(appliance::BootArgs),
    /// The same as `appliance logs`.
    #[command(hide = true)]
    Logs(appliance::LogArgs),
    /// Open the console of a VM in the browser, by a link that its first browser alone can use.
    Console(console::ConsoleArgs),
    /// Everything taken from a pool, with owner and state.
    Allocations {
        /// Only this pool, such as `public:z-1`.
        #[arg(long)]
        pool: Option<String>,
    },
    /// Templates of the system VMs themselves.
    #[command(subcommand)]
    Template(template::TemplateCommand),
    /// Write the whole store and the authority's key into a file that only you can read; `sluice-manager restore` puts it
    /// back.
    Backup(administration::BackupArgs),
    /// Push again from a store that was put back.
    Resume,
    /// Who changed what, from where; the newest first.
    Audit(administration::AuditArgs),
    /// Who may call the manager over TCP.
    #[command(subcommand)]
    Token(administration::TokenCommand),
    /// The certificate authority of the appliances.
    #[command(subcommand)]
    Ca(administration::CaCommand),
    /// Virtual wires and machines on this computer; needs no manager.
    #[command(subcommand)]
    Lab(sluice_lab::LabCommand),
    /// Completions for a shell, to be sourced by it.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command line and says how it went.
pub async fn run(cli: Cli) -> ExitCode {
    let json = cli.json;
    match dispatch(cli).await {
        Ok(code) => code,
        Err(failure) if json => {
            output::error(&format!("{:#}", serde_json::json!(failure.problem())));
            ExitCode::from(failure.exit_code())
        }
        Err(failure) => {
            output::error(&failure.to_string());
            if let Some(hint) = failure.hint() {
                output::error(&format!("hint: {hint}"));
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let (client, json) = (Client::new(&cli.place)?, cli.json);
    let client = &client.waiting(cli.wait.map(Duration::from_secs));
    match cli.command {
        Command::Object(Kinds(command)) => return object::run(client, json, command).await,
        Command::Appliance(command) => return appliance::run(client, json, command).await,
        Command::Status(args) => return status::run(client, json, &args).await,
        Command::Apply(args) => return apply::apply(client, json, &args).await,
        Command::Export => apply::export(client, json).await?,
        Command::Diff(args) => return apply::diff(client, json, &args).await,
        Command::Explain(args) => return explain::run(client, json, &args).await,
        Command::Plan { appliance } => appliance::plan(client, json, &appliance).await?,
        Command::BootDocument(args) => appliance::boot_document(client, &args).await?,
        Command::Logs(args) => appliance::logs(client, json, &args).await?,
        Command::Console(args) => return console::run(client, json, args).await,
        Command::Allocations { pool } => object::allocations(client, json, pool).await?,
        Command::Template(command) => return template::run(client, json, &command).await,
        Command::Backup(args) => administration::backup(client, &args).await?,
        Command::Resume => client.done(Method::POST, "/v1/resume").await?,
        Command::Audit(args) => administration::audit(client, json, &args).await?,
        Command::Token(command) => administration::token(client, json, command).await?,
        Command::Ca(command) => administration::authority(client, json, command).await?,
        Command::Lab(command) => return lab(command).await,
        Command::Completions { shell } => completions(shell),
    }
    Ok(ExitCode::SUCCESS)
}

/// The lab has no part in the manager; it is here so that there is one command to know.
async fn lab(command: sluice_lab::LabCommand) -> Result<ExitCode, Failure> {
    command.run(&["lab"]).await.map_err(|error| Failure::Lab(format!("{error:#}")))
}

fn completions(shell: clap_complete::Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sluice", &mut text);
    output::print(&String::from_utf8_lossy(&text));
}
