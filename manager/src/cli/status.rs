//! Wanted against reported.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::Value;

use super::client::{Client, Failure};
use super::table::Column;
use super::{exit, object, output};
use crate::model::ApplianceStatus;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Only these appliances, by id; with --wait, exit code 8 when they are not in sync in time.
    appliances: Vec<String>,
}

/// The least time for a look, however little is left of `--wait`.
const SHORTEST: Duration = Duration::from_secs(1);

const COLUMNS: &[Column] = &[
    ("APPLIANCE", "/appliance"),
    ("ROLE", "/role"),
    ("WANTED", "/wanted"),
    ("REPORTED", "/reported"),
    ("IN SYNC", "/in_sync"),
    ("PHASE", "/phase"),
    ("LAST ANSWER", "/last_answer"),
    ("SINCE", "/since"),
];

pub(super) async fn run(
    client: &Client,
    json: bool,
    args: &StatusArgs,
) -> Result<ExitCode, Failure> {
    let (rows, in_sync) = match client.wait() {
        Some(patience) => wait(client, &args.appliances, patience).await?,
        None => look(client, &args.appliances).await?,
    };
    object::list(json, &rows, COLUMNS);
    if !json {
        details(&rows);
    }
    let failed = client.wait().is_some() && !in_sync;
    Ok(if failed { ExitCode::from(exit::NOT_IN_SYNC) } else { ExitCode::SUCCESS })
}

async fn look(client: &Client, only: &[String]) -> Result<(Value, bool), Failure> {
    let mut rows: Vec<Value> = client.get("/v1/status").await?;
    let asked = |row: &Value| {
        let id = row.get("appliance").and_then(Value::as_str).unwrap_or_default();
        only.is_empty() || only.iter().any(|name| name == id)
    };
    rows.retain(asked);
    if rows.len() < only.len() {
        return Err(Failure::Unknown(only.join(", ")));
    }
    let rows = Value::Array(rows);
    let all: Vec<ApplianceStatus> =
        serde_json::from_value(rows.clone()).map_err(|error| Failure::Answer(error.to_string()))?;
    Ok((rows, all.iter().all(|status| status.in_sync)))
}

async fn wait(
    client: &Client,
    only: &[String],
    patience: Duration,
) -> Result<(Value, bool), Failure> {
    let until = Instant::now() + patience;
    let spinner = ProgressBar::new_spinner().with_message("waiting for the appliances");
    spinner.enable_steady_tick(Duration::from_millis(100));
    loop {
        let left = until.saturating_duration_since(Instant::now()).max(SHORTEST);
        // a manager that is restarted meanwhile is no reason to give up before the time is over
        match tokio::time::timeout(left, look(client, only))
            .await
            .unwrap_or_else(|_| Err(Failure::Slow { url: client.url().to_owned(), patience: left }))
        {
            Ok((rows, in_sync)) if in_sync || Instant::now() >= until => {
                spinner.finish_and_clear();
                return Ok((rows, in_sync));
            }
            Err(failure) if !failure.may_pass() || Instant::now() >= until => return Err(failure),
            Ok(_) | Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// The reasons behind what is not as it should be; they are too long for a table.
fn details(rows: &Value) {
    for row in rows.as_array().into_iter().flatten() {
        let text = |field| row.get(field).and_then(Value::as_str);
        let Some(appliance) = text("appliance") else { continue };
        if let Some(detail) = text("detail") {
            output::line(&format!("{appliance}: {detail}"));
        }
        let alarms = row.get("alarms").and_then(Value::as_array).into_iter().flatten();
        for alarm in alarms.filter_map(Value::as_str) {
            output::line(&format!("{appliance}: alarm: {alarm}"));
        }
    }
}
