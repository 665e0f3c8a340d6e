//! Whole clouds out of files.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde_json::Value;
use sluice_api::Digest;

use super::client::{Client, Failure};
use super::{exit, object, output, waiting};
use crate::model::CloudSpec;
use crate::model::view::CandidatePlan;
use crate::ops::CloudReport;

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    what: DiffArgs,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Only show the difference.
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The description (TOML); docs/manager.md has its form.
    file: PathBuf,
    /// Delete what the zones that the file names have and the file does not.
    #[arg(long)]
    prune: bool,
}

pub(super) async fn diff(
    client: &Client,
    json: bool,
    args: &DiffArgs,
) -> Result<ExitCode, Failure> {
    let report = ask(client, args, &read(args)?, Make::Plan).await?;
    told(json, &report);
    let same = report.changes.is_empty() && report.waiting.is_empty();
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(exit::DIFFERENT) })
}

pub(super) async fn apply(
    client: &Client,
    json: bool,
    args: &ApplyArgs,
) -> Result<ExitCode, Failure> {
    let cloud = read(&args.what)?;
    let make = if args.dry_run { Make::Plan } else { Make::Nothing };
    let report = ask(client, &args.what, &cloud, make).await?;
    if !json || args.dry_run || report.changes.is_empty() {
        told(json, &report);
    }
    if args.dry_run || report.changes.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if json && !args.yes {
        // standard output is for the answer; whoever is asked sees what it is about
        for line in lines(&report) {
            output::error(&line);
        }
    }
    if !args.yes && !output::ask("apply?").ok_or(Failure::NobodyToAsk)? {
        return Err(Failure::Declined);
    }
    let made = Make::Exactly(&report.digest);
    let answer: Value = ask_json(client, &args.what, &cloud, made).await?;
    let done: CloudReport = understood(answer.clone())?;
    let told = || {
        if json {
            object::show(true, &answer);
        } else {
            output::line(&format!("applied: {}", counted(&done)));
        }
    };
    waiting::changed(client, json, &answer, told).await
}

fn understood(answer: Value) -> Result<CloudReport, Failure> {
    serde_json::from_value(answer).map_err(|error| Failure::Answer(error.to_string()))
}

pub(super) async fn export(client: &Client, json: bool) -> Result<(), Failure> {
    let cloud: CloudSpec = client.get("/v1/cloud").await?;
    if json {
        object::show(true, &serde_json::json!(cloud));
        return Ok(());
    }
    let mut text = String::new();
    for kind in crate::kinds::KINDS {
        // in the order in which objects are made, which is the order in which people read them
        let section = kind.names().section();
        let specs = cloud.section(&section);
        if !specs.is_empty() {
            let part = std::collections::BTreeMap::from([(section.clone(), specs)]);
            let part =
                toml::to_string(&part).map_err(|error| Failure::Answer(error.to_string()))?;
            text.push_str(&part);
            text.push('\n');
        }
    }
    output::print(&text);
    Ok(())
}

/// What to make of the difference.
#[derive(Clone, Copy)]
enum Make<'a> {
    /// Only show it.
    Nothing,
    /// Show it with what the appliances would do.
    Plan,
    /// Make it, if it is still the one of this digest: what was said yes to.
    Exactly(&'a Digest),
}

async fn ask(
    client: &Client,
    args: &DiffArgs,
    cloud: &CloudSpec,
    make: Make<'_>,
) -> Result<CloudReport, Failure> {
    understood(ask_json(client, args, cloud, make).await?)
}

async fn ask_json(
    client: &Client,
    args: &DiffArgs,
    cloud: &CloudSpec,
    make: Make<'_>,
) -> Result<Value, Failure> {
    let how = match make {
        Make::Nothing => "dry_run=true".to_owned(),
        Make::Plan => "dry_run=true&plan=true".to_owned(),
        Make::Exactly(digest) => format!("expect={}", digest.as_str()),
    };
    let path = format!("/v1/cloud?{how}&prune={}", args.prune);
    client.change(Method::POST, &path, Some(cloud)).await
}

fn read(args: &DiffArgs) -> Result<CloudSpec, Failure> {
    let path = args.file.display().to_string();
    let failed = |reason: String| Failure::File { path: path.clone(), reason };
    let text = std::fs::read_to_string(&args.file).map_err(|error| failed(error.to_string()))?;
    toml::from_str(&text).map_err(|error| failed(error.to_string()))
}

fn told(json: bool, report: &CloudReport) {
    if json {
        return object::show(true, &serde_json::json!(report));
    }
    for line in lines(report) {
        output::line(&line);
    }
}

/// The difference for a person.
fn lines(report: &CloudReport) -> Vec<String> {
    let mut lines: Vec<_> = report.changes.iter().map(ToString::to_string).collect();
    lines.extend(report.waiting.iter().map(|waiting| format!("! {waiting}")));
    lines.extend(report.plans.iter().flat_map(plan_lines));
    lines.push(match (report.changes.is_empty(), report.waiting.is_empty()) {
        (true, true) => "nothing to do".to_owned(),
        (true, false) => "nothing to do now".to_owned(),
        (false, _) => counted(report),
    });
    lines
}

fn counted(report: &CloudReport) -> String {
    let CloudReport { added, changed, destroyed, .. } = report;
    format!("{added} added, {changed} changed, {destroyed} destroyed")
}

/// What an appliance says that it would do.
fn plan_lines(plan: &CandidatePlan) -> Vec<String> {
    let id = &plan.appliance;
    let error = plan.error.iter().map(|error| format!("{id} cannot be asked: {error}"));
    let steps = plan.plan.iter().flat_map(|plan| &plan.steps);
    let findings = plan.findings.iter().map(|finding| format!("{id}: {finding}"));
    error.chain(steps.map(|step| format!("{id}: {step}"))).chain(findings).collect()
}
