//! Whole clouds out of files.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use sluice_api::Digest;

use super::client::{Client, Failure};
use super::{exit, object, output};
use crate::model::CloudSpec;
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
    /// Leave alone what the file does not have, instead of deleting it from the zones that the file names.
    #[arg(long)]
    keep: bool,
}

pub(super) async fn diff(
    client: &Client,
    json: bool,
    args: &DiffArgs,
) -> Result<ExitCode, Failure> {
    let report = ask(client, args, &read(args)?, Make::Nothing).await?;
    told(json, &report);
    let same = report.changes.is_empty() && report.waiting.is_empty();
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(exit::DIFFERENT) })
}

pub(super) async fn apply(client: &Client, json: bool, args: &ApplyArgs) -> Result<(), Failure> {
    let cloud = read(&args.what)?;
    let report = ask(client, &args.what, &cloud, Make::Nothing).await?;
    if !json || args.dry_run || report.changes.is_empty() {
        told(json, &report);
    }
    if args.dry_run || report.changes.is_empty() {
        return Ok(());
    }
    if !args.yes && !output::ask("apply?").ok_or(Failure::NobodyToAsk)? {
        return Err(Failure::Declined);
    }
    let done = ask(client, &args.what, &cloud, Make::Exactly(&report.digest)).await?;
    if json {
        told(true, &done);
    } else {
        output::line(&format!("applied: {} changes", done.changes.len()));
    }
    Ok(())
}

/// What to make of the difference.
#[derive(Clone, Copy)]
enum Make<'a> {
    /// Only show it.
    Nothing,
    /// Make it, if it is still the one of this digest: what was said yes to.
    Exactly(&'a Digest),
}

async fn ask(
    client: &Client,
    args: &DiffArgs,
    cloud: &CloudSpec,
    make: Make<'_>,
) -> Result<CloudReport, Failure> {
    let how = match make {
        Make::Nothing => "dry_run=true".to_owned(),
        Make::Exactly(digest) => format!("expect={}", digest.as_str()),
    };
    let path = format!("/v1/cloud?{how}&keep={}", args.keep);
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
    for change in &report.changes {
        output::line(&change.to_string());
    }
    for waiting in &report.waiting {
        output::line(&format!("! {waiting}"));
    }
    if report.changes.is_empty() {
        output::line(if report.waiting.is_empty() { "nothing to do" } else { "nothing to do now" });
    }
}
