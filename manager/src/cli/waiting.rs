//! Waiting until a change is in force.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, Failure};
use super::{exit, object, output};
use crate::ops::Effect;
use crate::store::{GenerationStatus, Outcome};

/// Longest wait of one question.
const STEP: Duration = Duration::from_secs(60);

/// Shows what a change answered and, when that was asked for, waits until it is in force everywhere.
pub(super) async fn changed(
    client: &Client,
    json: bool,
    answer: &Value,
    show: impl FnOnce(),
) -> Result<ExitCode, Failure> {
    let effects = answer.get("effects").cloned().unwrap_or_default();
    let effects: Vec<Effect> = serde_json::from_value(effects).unwrap_or_default();
    for effect in effects.iter().filter(|_| !json) {
        for finding in &effect.findings {
            output::error(&format!("{}: {finding}", effect.appliance));
        }
    }
    let Some(patience) = client.wait() else {
        show();
        return Ok(ExitCode::SUCCESS);
    };
    if !json {
        show();
    }
    let until = Instant::now() + patience;
    let mut settled = Vec::with_capacity(effects.len());
    let mut failure = None;
    for effect in &effects {
        match wait(client, effect, until).await {
            Ok(status) => settled.push(status),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    // the change is made whatever the waiting came to, and its answer may be told only once
    if json {
        object::show(true, &serde_json::json!({ "answer": answer, "settled": settled }));
    } else {
        settled.iter().for_each(tell);
    }
    failure.map_or_else(|| Ok(verdict(&settled)), Err)
}

/// Waits until `effect` is settled, or what it is at `until`.
pub(super) async fn wait(
    client: &Client,
    effect: &Effect,
    until: Instant,
) -> Result<GenerationStatus, Failure> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let seconds = left.min(STEP).as_secs_f64().ceil();
        let Effect { appliance, generation, .. } = effect;
        let path = format!("/v1/appliances/{appliance}/generations/{generation}?wait={seconds}");
        match client.get::<GenerationStatus>(&path).await {
            Ok(status) if status.state.is_final() || left.is_zero() => return Ok(status),
            // a manager that is restarted meanwhile is no reason to give up before the time is over
            Err(failure) if !failure.may_pass() || left.is_zero() => return Err(failure),
            Ok(_) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

fn tell(status: &GenerationStatus) {
    let state = serde_json::to_value(status.state).unwrap_or_default();
    let state = state.as_str().unwrap_or_default().replace('-', " ");
    let detail = status.detail.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
    let GenerationStatus { appliance, generation, .. } = status;
    output::line(&format!("{appliance} generation {generation}: {state}{detail}"));
    for finding in &status.findings {
        output::line(&format!("  {finding}"));
    }
}

fn verdict(settled: &[GenerationStatus]) -> ExitCode {
    let states: Vec<_> = settled.iter().map(|status| status.state).collect();
    if states.iter().any(|state| state.is_final() && *state != Outcome::InForce) {
        ExitCode::from(exit::REFUSED)
    } else if states.iter().any(|state| !state.is_final()) {
        ExitCode::from(exit::NOT_IN_SYNC)
    } else {
        ExitCode::SUCCESS
    }
}
