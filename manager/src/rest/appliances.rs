//! Appliances: what they should have, what they have, and what they say.

#![allow(unused_qualifications)] // what utoipa expands `params(Type)` to

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse as _;
use serde::Deserialize;
use serde_json::Value;
use sluice_api::ApplianceConfig;
use sluice_api::boot::BootDocument;
use sluice_api::report::LogPage;
use sluice_api::types::ObjectId;
use utoipa::IntoParams;

use super::App;
use super::reply::{Reply, shown};
use super::request::{Body, Named, Query, RequestId};
use crate::error::{Error, Problem};
use crate::kinds::appliance::Appliance;
use crate::kinds::dynamic;
use crate::model::view::AppliancePlan;
use crate::model::{ApplianceStatus, EndpointSpec};
use crate::ops::{self, Change};
use crate::push::{PushClient, PushError};
use crate::store::{WantedRow, observations, wanted};

/// The configuration that the appliance should have.
#[utoipa::path(get, path = "/v1/appliances/{id}/config", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = ApplianceConfig), (status = "4XX", body = Problem)))]
pub(super) async fn config(State(app): State<App>, Named(id): Named) -> Reply {
    let wanted = wanted(&app, &id).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], wanted.config).into_response())
}

/// A boot document with a fresh certificate and its private key: hand it to the machine, keep it nowhere else.
#[utoipa::path(post, path = "/v1/appliances/{id}/boot-document", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = BootDocument), (status = "4XX", body = Problem)))]
pub(super) async fn boot_document(State(app): State<App>, Named(id): Named) -> Reply {
    let mut transaction = app.store.begin().await?;
    let document = ops::boot_document(&mut transaction, &app.authority, &id).await?;
    transaction.commit().await?;
    app.watch.wake([document.appliance.as_str()]);
    Ok(([(header::CACHE_CONTROL, "no-store")], shown(&document)).into_response())
}

/// Sets where the appliance is reached, if not at its control address.
#[utoipa::path(put, path = "/v1/appliances/{id}/endpoint", tag = "appliances",
    request_body = EndpointSpec,
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = Appliance), (status = "4XX", body = Problem)))]
pub(super) async fn endpoint(
    State(app): State<App>,
    Named(id): Named,
    request: RequestId,
    Body(spec): Body<EndpointSpec>,
) -> Reply {
    app.change(request, Change::SetEndpoint(id, spec)).await
}

/// Wanted against reported, for every appliance.
#[utoipa::path(get, path = "/v1/status", tag = "appliances",
    responses((status = 200, body = Vec<ApplianceStatus>)))]
pub(super) async fn statuses(State(app): State<App>) -> Reply {
    Ok(shown(&observations::status(&mut *app.read().await?, None).await?))
}

/// Wanted against reported, for one appliance.
#[utoipa::path(get, path = "/v1/appliances/{id}/status", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = ApplianceStatus), (status = "4XX", body = Problem)))]
pub(super) async fn status(State(app): State<App>, Named(id): Named) -> Reply {
    let appliance = find(&app, &id).await?;
    let id = appliance.id.as_str();
    let mut found = observations::status(&mut *app.read().await?, Some(id)).await?;
    let missing = || Error::NotFound { kind: "appliance", name: id.to_owned() };
    Ok(shown(&found.pop().ok_or_else(missing)?))
}

/// Asks the appliance what the wanted configuration would change, without changing anything.
#[utoipa::path(post, path = "/v1/appliances/{id}/plan", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = AppliancePlan), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn plan(State(app): State<App>, Named(id): Named) -> Reply {
    let wanted = wanted(&app, &id).await?;
    let (client, failed) = client(&app, &id).await?;
    let answer = client.dry_run_bytes(wanted.config.into_bytes()).await.map_err(failed)?;
    let (plan, findings) = (answer.plan, answer.findings);
    Ok(shown(&AppliancePlan { generation: wanted.generation, plan, findings }))
}

/// What each service of the appliance says of itself now: state, restarts, and its own report (members, sessions, jobs).
#[utoipa::path(get, path = "/v1/appliances/{id}/reports", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = Vec<Object>), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn reports(State(app): State<App>, Named(id): Named) -> Reply {
    Ok(shown(&services(&app, &id).await?))
}

/// The same of one service.
#[utoipa::path(get, path = "/v1/appliances/{id}/reports/{service}", tag = "appliances",
    params(("id" = String, Path), ("service" = String, Path, description = "such as `dhcp`")),
    responses((status = 200, body = Object), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn report(
    State(app): State<App>,
    Path((id, service)): Path<(String, String)>,
) -> Reply {
    let not_found = |_| Error::NotFound { kind: "appliance", name: id.chars().take(64).collect() };
    let id: ObjectId = id.parse().map_err(not_found)?;
    let all = services(&app, &id).await?;
    let found = all.into_iter().find(|one| one.get("name").is_some_and(|name| *name == service));
    let name = || format!("{} of {id}", service.chars().take(64).collect::<String>());
    Ok(shown(&found.ok_or_else(|| Error::NotFound { kind: "service", name: name() })?))
}

async fn services(app: &App, id: &ObjectId) -> Result<Vec<Value>, Error> {
    let (client, failed) = client(app, id).await?;
    let mut status = client.status_json().await.map_err(failed)?;
    match status.get_mut("services").map(Value::take) {
        Some(Value::Array(services)) => Ok(services),
        _ => Ok(Vec::new()),
    }
}

/// Which log entries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Window {
    /// Entries after this number. Default 0: from the oldest.
    #[serde(default)]
    after: u64,
    /// At most so many, 1 to 1000. Default 200.
    limit: Option<u32>,
}

/// Entries of the appliance's log ring, oldest first.
#[utoipa::path(get, path = "/v1/appliances/{id}/logs", tag = "appliances",
    params(("id" = String, Path), Window),
    responses((status = 200, body = LogPage), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn logs(
    State(app): State<App>,
    Named(id): Named,
    Query(window): Query<Window>,
) -> Reply {
    let (client, failed) = client(&app, &id).await?;
    let limit = window.limit.unwrap_or(200).clamp(1, 1000);
    Ok(shown(&client.logs(window.after, limit).await.map_err(failed)?))
}

pub(super) async fn find(app: &App, id: &ObjectId) -> Result<Appliance, Error> {
    dynamic::find(&mut *app.read().await?, id).await
}

pub(super) async fn wanted(app: &App, id: &ObjectId) -> Result<WantedRow, Error> {
    let appliance = find(app, id).await?;
    let wanted = wanted::wanted(&mut *app.read().await?, appliance.id.as_str()).await?;
    wanted.ok_or_else(|| missing(id))
}

fn missing(id: &ObjectId) -> Error {
    Error::NotFound { kind: "appliance", name: id.to_string() }
}

/// A client of the appliance, and how its failures are told.
pub(super) async fn client(
    app: &App,
    id: &ObjectId,
) -> Result<(PushClient, impl Fn(PushError) -> Error), Error> {
    let appliance = find(app, id).await?;
    let name = appliance.id.to_string();
    let failed = move |source| Error::of_appliance(&name, source);
    let client = app.watch.client(&appliance).map_err(&failed)?;
    Ok((client, failed))
}
