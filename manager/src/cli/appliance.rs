//! System VMs: list, reach, boot, question.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use sluice_api::RouterConfig;
use sluice_api::report::LogPage;

use super::client::{Client, Failure};
use super::diagnostics::{self, ArpingArgs, CaptureArgs, PingArgs, TracerouteArgs};
use super::object::{self, segment};
use super::output;
use super::table::Column;
use crate::model::view::AppliancePlan;

/// What can be done with an appliance.
#[derive(Debug, Subcommand)]
pub(super) enum ApplianceCommand {
    /// List all.
    List,
    /// Show one, with the NICs that its machine must have.
    Show {
        /// Its id.
        appliance: String,
    },
    /// The configuration that it should have.
    Config {
        /// Its id.
        appliance: String,
    },
    /// Where it stands: wanted, reported, last answer and plan.
    Status {
        /// Its id.
        appliance: String,
    },
    /// Set where it is reached, such as a forwarded port of the lab; without an address, its control address.
    Endpoint {
        /// Its id.
        appliance: String,
        /// Address and port.
        address: Option<SocketAddr>,
    },
    /// Have it send echo requests to an address; exit code 1 when none is answered.
    Ping(PingArgs),
    /// Have it ask which routers are on the way to an address; exit code 1 when it is not reached.
    Traceroute(TracerouteArgs),
    /// Have it ask on a link which MAC an address has; two MACs are an address given twice.
    Arping(ArpingArgs),
    /// Have it capture packets on a link, into a pcap file.
    Capture(CaptureArgs),
    /// Forget one whose network is deleted and whose machine is destroyed.
    Delete {
        /// Its id.
        appliance: String,
    },
}

/// Arguments of `boot-document`.
#[derive(Debug, Args)]
pub(super) struct BootArgs {
    /// Id of the appliance.
    appliance: String,
    /// The file to write; `-` for standard output.
    #[arg(long, short)]
    output: PathBuf,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// Id of the appliance.
    appliance: String,
    /// Only entries after this number.
    #[arg(long, default_value_t = 0)]
    after: u64,
    /// Go on until interrupted.
    #[arg(long, short)]
    follow: bool,
}

const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("ROLE", "/role"),
    ("ZONE", "/zone"),
    ("NETWORK", "/network"),
    ("CONTROL", "/control"),
    ("ENDPOINT", "/endpoint"),
];

pub(super) fn path(appliance: &str, rest: &str) -> String {
    format!("/v1/appliances/{}{rest}", segment(appliance))
}

pub(super) async fn run(
    client: &Client,
    json: bool,
    command: ApplianceCommand,
) -> Result<ExitCode, Failure> {
    match command {
        ApplianceCommand::List => {
            object::list(json, &client.get("/v1/appliances").await?, COLUMNS);
        }
        ApplianceCommand::Show { appliance } => {
            object::show(json, &client.get(&path(&appliance, "")).await?);
        }
        ApplianceCommand::Config { appliance } => {
            let config: RouterConfig = client.get(&path(&appliance, "/config")).await?;
            let text = serde_json::to_string_pretty(&config);
            output::line(&text.map_err(|error| Failure::Answer(error.to_string()))?);
        }
        ApplianceCommand::Status { appliance } => {
            object::show(json, &client.get(&path(&appliance, "/status")).await?);
        }
        ApplianceCommand::Endpoint { appliance, address } => {
            let body = json!({ "address": address });
            let path = path(&appliance, "/endpoint");
            object::show(json, &client.change(Method::PUT, &path, Some(&body)).await?);
        }
        ApplianceCommand::Ping(args) => return diagnostics::ping(client, json, &args).await,
        ApplianceCommand::Traceroute(args) => {
            return diagnostics::traceroute(client, json, &args).await;
        }
        ApplianceCommand::Arping(args) => return diagnostics::arping(client, json, &args).await,
        ApplianceCommand::Capture(args) => diagnostics::capture(client, json, &args).await?,
        ApplianceCommand::Delete { appliance } => {
            let path = path(&appliance, "");
            let gone = client.change(Method::DELETE, &path, None::<&Value>).await?;
            object::deleted(json, "appliance", &gone);
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn plan(client: &Client, json: bool, appliance: &str) -> Result<(), Failure> {
    let answer: Value =
        client.change(Method::POST, &path(appliance, "/plan"), None::<&Value>).await?;
    if json {
        object::show(true, &answer);
        return Ok(());
    }
    let plan: AppliancePlan =
        serde_json::from_value(answer).map_err(|error| Failure::Answer(error.to_string()))?;
    output::line(&format!("generation {} on {appliance}:", plan.generation));
    for step in &plan.plan.steps {
        output::line(&format!("  {step}"));
    }
    output::line(&format!(
        "{} steps, {} objects unchanged",
        plan.plan.steps.len(),
        plan.plan.unchanged
    ));
    for finding in &plan.findings {
        output::line(&finding.to_string());
    }
    Ok(())
}

pub(super) async fn boot_document(client: &Client, args: &BootArgs) -> Result<(), Failure> {
    let path = path(&args.appliance, "/boot-document");
    let document: Value = client.change(Method::POST, &path, None::<&Value>).await?;
    let text = format!("{document:#}\n");
    if args.output == Path::new("-") {
        output::print(&text);
        return Ok(());
    }
    write_private(&args.output, &text).map_err(|error| Failure::File {
        path: args.output.display().to_string(),
        reason: error.to_string(),
    })?;
    output::line(&format!("boot document of {}: {}", args.appliance, args.output.display()));
    Ok(())
}

/// Whole or not at all, and never readable by others, not even while it is written.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

pub(super) async fn logs(client: &Client, json: bool, args: &LogArgs) -> Result<(), Failure> {
    let mut after = args.after;
    loop {
        let query = format!("/logs?after={after}&limit=1000");
        let page: LogPage = client.get(&path(&args.appliance, &query)).await?;
        print_page(json, &page);
        let ended = page.entries.is_empty();
        after = page.next_after;
        if ended && !args.follow {
            return Ok(());
        }
        if ended {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

fn print_page(json: bool, page: &LogPage) {
    if page.lost > 0 {
        output::error(&format!("{} entries were overwritten before they were read", page.lost));
    }
    for entry in &page.entries {
        if json {
            output::line(&json!(entry).to_string());
            continue;
        }
        let level = format!("{:?}", entry.level).to_ascii_lowercase();
        output::line(&format!("{} {level:5} {}: {}", entry.at, entry.target, entry.message));
    }
}
