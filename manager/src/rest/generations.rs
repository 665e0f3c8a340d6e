//! Configurations of an appliance by number: what became of each, going back, and what a person decides.

#![allow(unused_qualifications)] // what utoipa expands `params(Type)` to

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sluice_api::types::{Generation, ObjectId};
use utoipa::{IntoParams, ToSchema};

use super::appliances::{client, find};
use super::reply::{Reply, shown};
use super::request::{Body, Named, NamedPart, Query, RequestId, at_most};
use super::{App, For};
use crate::access::Caller;
use crate::error::{Error, Problem};
use crate::hidden;
use crate::ops::{self, Decision, Effect, Found};
use crate::store::{GenerationStatus, outcomes};

/// Longest wait for one answer.
const LONGEST: Duration = Duration::from_secs(120);
/// How often another manager's notes are looked for.
const LOOK: Duration = Duration::from_millis(250);

/// How long to wait.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Patience {
    /// Seconds to wait until it is in force, refused or undone, such as `30` or `30s`; at most 120. Default 0.
    #[serde(default)]
    wait: String,
}

impl Patience {
    fn duration(&self) -> Result<Duration, Error> {
        let text = self.wait.strip_suffix('s').unwrap_or(&self.wait);
        let seconds = if text.is_empty() { Some(0) } else { text.parse().ok() };
        let wait = seconds.map(Duration::from_secs).filter(|wait| *wait <= LONGEST);
        let reason = || format!("must be 0 to {} seconds", LONGEST.as_secs());
        wait.ok_or_else(|| Error::Invalid { field: "wait", reason: reason() })
    }
}

/// A number in the path.
fn number(text: &str) -> Result<Generation, Error> {
    let name = || text.chars().take(64).collect();
    text.parse().map_err(|_| Error::NotFound { kind: "generation", name: name() })
}

/// What became of the change that is in this generation; with `wait`, as soon as that is settled.
#[utoipa::path(get, path = "/v1/appliances/{id}/generations/{generation}", tag = "appliances",
    params(("id" = String, Path), ("generation" = u64, Path), Patience),
    responses((status = 200, body = GenerationStatus), (status = "4XX", body = Problem)))]
pub(super) async fn show(
    For(app): For,
    NamedPart(id, generation): NamedPart,
    Query(patience): Query<Patience>,
) -> Reply {
    let until = Instant::now() + patience.duration()?;
    let generation = number(&generation)?;
    let id = find(&app, &id).await?.id;
    loop {
        let news = app.watch.news();
        let found = outcomes::of_change(&mut *app.read().await?, id.as_str(), generation).await?;
        let name = || format!("{generation} of {id}");
        let status = found.ok_or_else(|| Error::NotFound { kind: "generation", name: name() })?;
        let left = until.saturating_duration_since(Instant::now());
        if status.state.is_final() || left.is_zero() {
            return Ok(shown(&status));
        }
        let _told_or_time = tokio::time::timeout(left.min(LOOK), news).await;
    }
}

/// How much of the history.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Depth {
    /// At most so many. Default 100.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
}

/// Every configuration that the appliance was ever to have, the newest first.
#[utoipa::path(get, path = "/v1/appliances/{id}/generations", tag = "appliances",
    params(("id" = String, Path), Depth),
    responses((status = 200, body = Vec<GenerationStatus>), (status = "4XX", body = Problem)))]
pub(super) async fn history(For(app): For, Named(id): Named, Query(depth): Query<Depth>) -> Reply {
    let id = find(&app, &id).await?.id;
    let limit = i64::from(at_most(depth.limit, 100, 10_000)?);
    Ok(shown(&outcomes::list(&mut *app.read().await?, id.as_str(), None, limit).await?))
}

/// Which two configurations.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Pair {
    /// The earlier: a number, or `found` for what the appliance has now.
    from: String,
    /// The later. Default: what is wanted now.
    to: Option<String>,
}

/// The differences between two configurations of the appliance, each with its place.
#[utoipa::path(get, path = "/v1/appliances/{id}/diff", tag = "appliances",
    params(("id" = String, Path), Pair),
    responses((status = 200, body = Vec<Object>), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn diff(For(app): For, Named(id): Named, Query(pair): Query<Pair>) -> Reply {
    let from = document(&app, &id, Some(&pair.from)).await?;
    let to = document(&app, &id, pair.to.as_deref()).await?;
    let hide = hidden::of_configuration;
    Ok(shown(&ops::differences(&hide(from), &hide(to))?))
}

/// A configuration of the appliance: what is wanted, a number, or `found` for what it has now.
pub(super) async fn document(
    app: &App,
    id: &ObjectId,
    which: Option<&str>,
) -> Result<String, Error> {
    match which {
        None => Ok(super::appliances::wanted(app, id).await?.config),
        Some("found") => Ok(found(app, id).await?.document),
        Some(text) => {
            let generation = number(text)?;
            let id = find(app, id).await?.id;
            ops::document(&mut *app.read().await?, &id, generation).await
        }
    }
}

async fn found(app: &App, id: &ObjectId) -> Result<Found, Error> {
    let (client, failed) = client(app, id).await?;
    let found = ops::found(&client).await.map_err(failed)?;
    let name = || id.to_string();
    found.ok_or_else(|| Error::NotFound { kind: "configuration of", name: name() })
}

/// What a decision leads to.
#[derive(Serialize, ToSchema)]
pub(super) struct Decided {
    /// Which generation of which appliance has it.
    effects: Vec<Effect>,
}

fn decided(app: &App, effect: Effect) -> Reply {
    app.watch.wake([effect.appliance.as_str()]);
    Ok(shown(&Decided { effects: vec![effect] }))
}

fn decision<'a>(
    caller: &'a Caller,
    request: &'a RequestId,
    appliance: &'a ObjectId,
) -> Decision<'a> {
    Decision { caller, request: request.0.as_deref(), appliance }
}

/// Where to go back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollback {
    /// The generation whose content is wanted again, under a new number.
    to: Generation,
}

/// Makes the content of an earlier generation what is wanted, under a new number, until the next change that concerns
/// the appliance.
#[utoipa::path(post, path = "/v1/appliances/{id}/rollback", tag = "appliances",
    request_body = Rollback, params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = Decided), (status = "4XX", body = Problem)))]
pub(super) async fn rollback(
    For(app): For,
    caller: Caller,
    request: RequestId,
    Named(id): Named,
    Body(Rollback { to }): Body<Rollback>,
) -> Reply {
    let decision = decision(&caller, &request, &id);
    decided(&app, ops::rollback(&app.store, decision, to).await?)
}

/// Sends what is wanted over a configuration that this store never gave.
#[utoipa::path(post, path = "/v1/appliances/{id}/overwrite", tag = "appliances",
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = Decided), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn overwrite(
    For(app): For,
    caller: Caller,
    request: RequestId,
    Named(id): Named,
) -> Reply {
    let (found, decision) = (found(&app, &id).await?, decision(&caller, &request, &id));
    decided(&app, ops::overwrite(&app.store, decision, &found).await?)
}

/// Keeps a configuration that this store never gave, until the next change that concerns the appliance.
#[utoipa::path(post, path = "/v1/appliances/{id}/adopt", tag = "appliances",
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = Decided), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn adopt(
    For(app): For,
    caller: Caller,
    request: RequestId,
    Named(id): Named,
) -> Reply {
    let (found, decision) = (found(&app, &id).await?, decision(&caller, &request, &id));
    decided(&app, ops::adopt(&app.store, decision, &found).await?)
}

/// Looks at the appliance now, and sends what is wanted even if it was undone before.
#[utoipa::path(post, path = "/v1/appliances/{id}/push", tag = "appliances",
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn push(
    For(app): For,
    caller: Caller,
    request: RequestId,
    Named(id): Named,
) -> Reply {
    let id = ops::push_again(&app.store, decision(&caller, &request, &id)).await?;
    app.watch.wake([id.as_str()]);
    Ok(super::reply::nothing())
}
