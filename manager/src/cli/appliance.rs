//! System VMs: list, reach, boot, question.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use sluice_api::ApplianceConfig;
use sluice_api::report::LogPage;

use super::administration::write_private;
use super::client::{Client, Failure};
use super::diagnostics::{self, ArpingArgs, CaptureArgs, PingArgs, TracerouteArgs};
use super::kinds::Appliances;
use super::machine::{self, LabArgs, QemuArgs};
use super::object::{self, segment};
use super::table::Column;
use super::{exit, output, usage, waiting};
use crate::model::view::AppliancePlan;
use crate::ops::lint::Linted;

/// What can be done with an appliance.
#[derive(Debug, Subcommand)]
pub(super) enum ApplianceCommand {
    #[command(flatten)]
    Object(Appliances),
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
    /// What its services say of themselves now: members, sessions, jobs.
    Report {
        /// Its id.
        appliance: String,
        /// Only this service, such as `dhcp`.
        service: Option<String>,
        /// As CSV with HAProxy's columns; of `lb`.
        #[arg(long, requires = "service")]
        csv: bool,
    },
    /// Bytes and packets by public address, network, forward and rule; connection tracking.
    Usage {
        /// Its id.
        appliance: String,
    },
    /// What is remarked upon in the configuration that it should have, such as rules that do nothing; exit code 10 when
    /// there is something.
    Lint {
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
    /// Every configuration that it was ever to have: number, what became of it, who wanted it and why.
    History {
        /// Its id.
        appliance: String,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// The differences between two of its configurations, or between one and what it has.
    Diff {
        /// Its id.
        appliance: String,
        /// The earlier: a number, or `found` for what it has now.
        #[arg(long)]
        from: String,
        /// The later. Default: what is wanted now.
        #[arg(long)]
        to: Option<String>,
    },
    /// Make the content of an earlier configuration what is wanted, under a new number.
    Rollback {
        /// Its id.
        appliance: String,
        /// Number of the earlier configuration.
        #[arg(long)]
        to: u64,
    },
    /// Look at it now, and send what is wanted even if it was undone before.
    Push {
        /// Its id.
        appliance: String,
    },
    /// Send what is wanted over a configuration that this store never gave.
    Overwrite {
        /// Its id.
        appliance: String,
    },
    /// Keep a configuration that this store never gave.
    Adopt {
        /// Its id.
        appliance: String,
    },
    /// What the wanted configuration would change on it, asked from the appliance itself.
    Plan {
        /// Its id.
        appliance: String,
    },
    /// Write its boot document, with a fresh certificate and key, to a file that only you can read.
    BootDocument(BootArgs),
    /// Its log.
    Logs(LogArgs),
    /// The QEMU command that starts its machine.
    Qemu(QemuArgs),
    /// A lab file with its machine, the guests of its networks and a neighbour.
    LabFile(LabArgs),
    /// Have it send echo requests to an address; exit code 1 when none is answered.
    Ping(PingArgs),
    /// Have it ask which routers are on the way to an address; exit code 1 when it is not reached.
    Traceroute(TracerouteArgs),
    /// Have it ask on a link which MAC an address has; two MACs are an address given twice.
    Arping(ArpingArgs),
    /// Have it capture packets on a link, into a pcap file.
    Capture(CaptureArgs),
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

pub(super) fn path(appliance: &str, rest: &str) -> String {
    format!("/v1/appliances/{}{rest}", segment(appliance))
}

#[expect(clippy::too_many_lines, reason = "an arm for each subcommand")]
pub(super) async fn run(
    client: &Client,
    json: bool,
    command: ApplianceCommand,
) -> Result<ExitCode, Failure> {
    match command {
        ApplianceCommand::Object(Appliances(command)) => {
            return object::run(client, json, command).await;
        }
        ApplianceCommand::Config { appliance } => {
            let config: ApplianceConfig = client.get(&path(&appliance, "/config")).await?;
            let text = serde_json::to_string_pretty(&config);
            output::line(&text.map_err(|error| Failure::Answer(error.to_string()))?);
        }
        ApplianceCommand::Status { appliance } => {
            object::show(json, &client.get(&path(&appliance, "/status")).await?);
        }
        ApplianceCommand::Report { appliance, service: Some(service), csv: true } => {
            let rest = format!("/reports/{}/csv", segment(&service));
            output::print(&client.text(&path(&appliance, &rest)).await?);
        }
        ApplianceCommand::Report { appliance, service, .. } => {
            report(client, json, &appliance, service.as_deref()).await?;
        }
        ApplianceCommand::Usage { appliance } => {
            usage::show(json, client.get(&path(&appliance, "/usage")).await?)?;
        }
        ApplianceCommand::Lint { appliance } => return lint(client, json, &appliance).await,
        ApplianceCommand::Endpoint { appliance, address } => {
            let body = json!({ "address": address });
            let path = path(&appliance, "/endpoint");
            object::show(json, &client.change(Method::PUT, &path, Some(&body)).await?);
        }
        ApplianceCommand::History { appliance, limit } => {
            let path = path(&appliance, &format!("/generations?limit={limit}"));
            object::list(json, &client.get(&path).await?, HISTORY);
        }
        ApplianceCommand::Diff { appliance, from, to } => {
            return diff(client, json, &appliance, &from, to.as_deref()).await;
        }
        ApplianceCommand::Rollback { appliance, to } => {
            return decide(client, json, &appliance, "rollback", &json!({ "to": to })).await;
        }
        ApplianceCommand::Push { appliance } => {
            client.done(Method::POST, &path(&appliance, "/push")).await?;
        }
        ApplianceCommand::Overwrite { appliance } => {
            return decide(client, json, &appliance, "overwrite", &json!({})).await;
        }
        ApplianceCommand::Adopt { appliance } => {
            return decide(client, json, &appliance, "adopt", &json!({})).await;
        }
        ApplianceCommand::Plan { appliance } => plan(client, json, &appliance).await?,
        ApplianceCommand::BootDocument(args) => boot_document(client, &args).await?,
        ApplianceCommand::Logs(args) => logs(client, json, &args).await?,
        ApplianceCommand::Qemu(args) => machine::qemu(client, &args).await?,
        ApplianceCommand::LabFile(args) => machine::lab_file(client, &args).await?,
        ApplianceCommand::Ping(args) => return diagnostics::ping(client, json, &args).await,
        ApplianceCommand::Traceroute(args) => {
            return diagnostics::traceroute(client, json, &args).await;
        }
        ApplianceCommand::Arping(args) => return diagnostics::arping(client, json, &args).await,
        ApplianceCommand::Capture(args) => diagnostics::capture(client, json, &args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

const HISTORY: &[Column] = &[
    ("GENERATION", "/generation"),
    ("STATE", "/state"),
    ("WANTED", "/wanted_at"),
    ("SETTLED", "/settled_at"),
    ("BY", "/actor"),
    ("REASON", "/reason"),
    ("DETAIL", "/detail"),
];

async fn decide(
    client: &Client,
    json: bool,
    appliance: &str,
    what: &str,
    body: &Value,
) -> Result<ExitCode, Failure> {
    let path = path(appliance, &format!("/{what}"));
    let answer: Value = client.change(Method::POST, &path, Some(body)).await?;
    waiting::changed(client, json, &answer, || object::show(json, &answer)).await
}

/// Exit code 10 when there is a difference.
async fn diff(
    client: &Client,
    json: bool,
    appliance: &str,
    from: &str,
    to: Option<&str>,
) -> Result<ExitCode, Failure> {
    let to = to.map(|to| format!("&to={}", segment(to))).unwrap_or_default();
    let path = path(appliance, &format!("/diff?from={}{to}", segment(from)));
    let found: Vec<Value> = client.get(&path).await?;
    if json {
        object::show(true, &json!(found));
    }
    for one in found.iter().filter(|_| !json) {
        let text = |field| one.get(field).map(ToString::to_string).unwrap_or_default();
        let place = one.get("path").and_then(Value::as_str).unwrap_or_default();
        output::line(&format!("{place}: {} -> {}", text("old"), text("new")));
    }
    if found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(exit::DIFFERENT))
}

/// Exit code 10 when there is something to say.
async fn lint(client: &Client, json: bool, appliance: &str) -> Result<ExitCode, Failure> {
    let answer: Value = client.get(&path(appliance, "/findings")).await?;
    let told: Linted = serde_json::from_value(answer.clone())
        .map_err(|error| Failure::Answer(error.to_string()))?;
    if json {
        object::show(true, &answer);
    } else {
        told.findings.iter().for_each(|finding| output::line(&finding.to_string()));
        for owner in &told.owners {
            output::line(&format!("  {} is {} {}", owner.rule, owner.kind, owner.name));
        }
    }
    if told.findings.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(exit::DIFFERENT))
}

const SERVICES: &[Column] = &[
    ("SERVICE", "/name"),
    ("STATE", "/state"),
    ("GENERATION", "/generation"),
    ("RESTARTS", "/restarts"),
    ("REPORT", "/report"),
];

async fn report(
    client: &Client,
    json: bool,
    appliance: &str,
    service: Option<&str>,
) -> Result<(), Failure> {
    let Some(service) = service else {
        object::list(json, &client.get(&path(appliance, "/reports")).await?, SERVICES);
        return Ok(());
    };
    let rest = format!("/reports/{}", segment(service));
    let found: Value = client.get(&path(appliance, &rest)).await?;
    let report = found.get("report").filter(|report| !report.is_null());
    match report.filter(|_| !json) {
        Some(report) => object::show(false, &with_counters(report, &found)),
        None => object::show(json, &found),
    }
    Ok(())
}

/// What a service says of itself, and beside it what it counts.
fn with_counters(report: &Value, service: &Value) -> Value {
    let mut shown = report.clone();
    let counters = service.get("counters").and_then(Value::as_object).filter(|it| !it.is_empty());
    if let (Some(fields), Some(counters)) = (shown.as_object_mut(), counters) {
        fields.entry("counters").or_insert_with(|| counters.clone().into());
    }
    shown
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
