//! Appliances: what they should have, what they have, and what they say.

#![allow(unused_qualifications)] // what utoipa expands `params(Type)` to

use axum::http::header;
use axum::response::IntoResponse as _;
use serde::Deserialize;
use serde_json::Value;
use sluice_api::ApplianceConfig;
use sluice_api::boot::BootDocument;
use sluice_api::report::{LogPage, balancing};
use sluice_api::types::ObjectId;
use utoipa::IntoParams;

use super::reply::{Reply, shown};
use super::request::{Body, Named, NamedPart, Query, RequestId, at_most};
use super::{App, For};
use crate::access::Caller;
use crate::error::{Error, Problem};
use crate::hidden;
use crate::kinds::appliance::Appliance;
use crate::kinds::dynamic;
use crate::model::view::AppliancePlan;
use crate::model::{ApplianceStatus, EndpointSpec};
use crate::ops::lint::Linted;
use crate::ops::usage::ApplianceUsage;
use crate::ops::{self, Change};
use crate::push::{PushClient, PushError};
use crate::store::{Scope, WantedRow, audit, observations, wanted};

/// The configuration that the appliance should have.
#[utoipa::path(get, path = "/v1/appliances/{id}/config", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = ApplianceConfig), (status = "4XX", body = Problem)))]
pub(super) async fn config(For(app): For, Named(id): Named) -> Reply {
    let wanted = wanted(&app, &id).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], hidden::of_configuration(wanted.config))
        .into_response())
}

/// A boot document with a fresh certificate and its private key: hand it to the machine, keep it nowhere else.
#[utoipa::path(post, path = "/v1/appliances/{id}/boot-document", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = BootDocument), (status = "4XX", body = Problem)))]
pub(super) async fn boot_document(For(app): For, caller: Caller, Named(id): Named) -> Reply {
    let mut transaction = app.store.begin().await?;
    let document =
        ops::boot_document(&mut transaction, &app.authority, Scope::Of(&app.owner), &id).await?;
    let what = format!("boot document {} of {} issued", document.incarnation, document.appliance);
    audit::note(&mut transaction, &caller, &what, &[], None).await?;
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
    For(app): For,
    caller: Caller,
    Named(id): Named,
    request: RequestId,
    Body(spec): Body<EndpointSpec>,
) -> Reply {
    app.change(&caller, request, Change::SetEndpoint(id, spec)).await
}

/// Wanted against reported, for every appliance.
#[utoipa::path(get, path = "/v1/status", tag = "appliances",
    responses((status = 200, body = Vec<ApplianceStatus>)))]
pub(super) async fn statuses(For(app): For) -> Reply {
    Ok(shown(&observations::status(&mut *app.read().await?, None).await?))
}

/// Wanted against reported, for one appliance.
#[utoipa::path(get, path = "/v1/appliances/{id}/status", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = ApplianceStatus), (status = "4XX", body = Problem)))]
pub(super) async fn status(For(app): For, Named(id): Named) -> Reply {
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
pub(super) async fn plan(For(app): For, Named(id): Named) -> Reply {
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
pub(super) async fn reports(For(app): For, Named(id): Named) -> Reply {
    Ok(shown(&services(&app, &id).await?))
}

/// The same of one service.
#[utoipa::path(get, path = "/v1/appliances/{id}/reports/{service}", tag = "appliances",
    params(("id" = String, Path), ("service" = String, Path, description = "such as `dhcp`")),
    responses((status = 200, body = Object), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn report(For(app): For, NamedPart(id, service): NamedPart) -> Reply {
    let all = services(&app, &id).await?;
    let found = all.into_iter().find(|one| one.get("name").is_some_and(|name| *name == service));
    let name = || format!("{} of {id}", service.chars().take(64).collect::<String>());
    Ok(shown(&found.ok_or_else(|| Error::NotFound { kind: "service", name: name() })?))
}

/// What `service` of the appliance says of itself now; null when it says nothing or does not run.
pub(super) async fn report_of(app: &App, id: &ObjectId, service: &str) -> Result<Value, Error> {
    let all = services(app, id).await?;
    let found = all.into_iter().find(|one| one.get("name").is_some_and(|name| *name == service));
    Ok(found.and_then(|mut found| found.get_mut("report").map(Value::take)).unwrap_or_default())
}

/// The balancer's report as CSV with HAProxy's columns, names of which are ids.
#[utoipa::path(get, path = "/v1/appliances/{id}/reports/lb/csv", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = String, content_type = "text/csv"),
        (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn csv(For(app): For, Named(id): Named) -> Reply {
    let report = report_of(&app, &id, balancing::SERVICE).await?;
    let report: balancing::Report = serde_json::from_value(report).unwrap_or_default();
    let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
    Ok((kind, balancing::csv(&report)).into_response())
}

/// The same as a page for a browser. Whoever reaches this port sees it, which listens on loopback by default; routers
/// have no such page.
#[utoipa::path(get, path = "/v1/appliances/{id}/reports/lb/page", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = String, content_type = "text/html"),
        (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn page(For(app): For, Named(id): Named) -> Reply {
    let report = report_of(&app, &id, balancing::SERVICE).await?;
    let report: balancing::Report = serde_json::from_value(report).unwrap_or_default();
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    Ok((kind, balancing::page(id.as_str(), &report)).into_response())
}

async fn services(app: &App, id: &ObjectId) -> Result<Vec<Value>, Error> {
    let (client, failed) = client(app, id).await?;
    let mut status = client.status_json().await.map_err(failed)?;
    match status.get_mut("services").map(Value::take) {
        Some(Value::Array(services)) => Ok(services),
        _ => Ok(Vec::new()),
    }
}

/// Bytes and packets of the appliance by public address, network, forward and rule, and how far connection tracking is
/// used. The numbers only rise.
#[utoipa::path(get, path = "/v1/appliances/{id}/usage", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = ApplianceUsage), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn usage(For(app): For, Named(id): Named) -> Reply {
    let (client, failed) = client(&app, &id).await?;
    let usage = client.usage().await.map_err(failed)?;
    let appliance = find(&app, &id).await?.id;
    Ok(shown(&ops::usage::named(&mut *app.read().await?, appliance, usage).await?))
}

/// What is remarked upon in the configuration that the appliance is to have: rules that do nothing, and the like.
#[utoipa::path(get, path = "/v1/appliances/{id}/findings", tag = "appliances",
    params(("id" = String, Path)),
    responses((status = 200, body = Linted), (status = "4XX", body = Problem)))]
pub(super) async fn findings(For(app): For, Named(id): Named) -> Reply {
    let wanted = wanted(&app, &id).await?;
    Ok(shown(&ops::lint::lint(&mut *app.read().await?, &wanted.config).await?))
}

/// Which log entries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Window {
    /// Entries after this number. Default 0: from the oldest.
    #[serde(default)]
    after: u64,
    /// At most so many. Default 200.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Entries of the appliance's log ring, oldest first.
#[utoipa::path(get, path = "/v1/appliances/{id}/logs", tag = "appliances",
    params(("id" = String, Path), Window),
    responses((status = 200, body = LogPage), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked")))]
pub(super) async fn logs(For(app): For, Named(id): Named, Query(window): Query<Window>) -> Reply {
    let (client, failed) = client(&app, &id).await?;
    let limit = at_most(window.limit, 200, 1000)?;
    Ok(shown(&client.logs(window.after, limit).await.map_err(failed)?))
}

pub(super) async fn find(app: &App, id: &ObjectId) -> Result<Appliance, Error> {
    dynamic::find(&mut *app.read().await?, Scope::Of(&app.owner), id).await
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
