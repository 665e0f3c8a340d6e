//! The routes of design section 3.

#![allow(unused_qualifications)] // what utoipa expands `params(Type)` to

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use sluice_api::boot::Identity;
use sluice_api::report::{
    Answer, Confirm, ConfirmAnswer, DryRun, Health, LogPage, PowerAction, PowerRequest,
    StatusReport, UsageReport,
};
use sluice_api::{ApiCode, ApplianceConfig};
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::body::{Json, Query, Raw, refuse};
use super::connection::{Caller, Connected};
use super::identity::{Identities, IdentityError};
use super::reply::rejected;
use super::{blobs, diagnostics, flows, questions, reply};
use crate::causes::chain;
use crate::clock::Clock;
use crate::diagnostics::Diagnostics;
use crate::engine::Handle;
use crate::logs::LogRing;
use crate::metrics;
use crate::questions::Questions;

/// Confirm time when none is asked for, in seconds.
const CONFIRM: u32 = 30;
/// Longest confirm time, in seconds.
const CONFIRM_MAX: u32 = 3600;
/// Log entries in a page when no number is asked for.
const LOGS: u32 = 200;

/// What the routes work with.
pub(super) struct App {
    pub(super) handle: Handle,
    pub(super) identities: Arc<Identities>,
    pub(super) logs: Arc<LogRing>,
    pub(super) questions: Arc<Questions>,
    pub(super) power: mpsc::Sender<PowerAction>,
    pub(super) diagnostics: Diagnostics,
    pub(super) clock: Arc<Clock>,
}

pub(super) type Shared = State<Arc<App>>;

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/config", get(config).put(push))
        .route("/v1/config/confirm", post(confirm))
        .merge(blobs::router())
        .route("/v1/status", get(status))
        .route("/v1/health", get(health))
        .route("/v1/logs", get(logs))
        .route("/v1/power", post(power))
        .route("/v1/identity", post(identity))
        .route("/v1/usage", get(usage))
        .route("/metrics", get(metrics_text))
        .merge(diagnostics::router())
        .merge(flows::router())
        .merge(questions::router())
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .with_state(app)
}

async fn nothing_here(uri: Uri) -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        ApiCode::UnknownPath,
        format!("there is nothing at {}", uri.path()),
    )
}

async fn not_so(method: Method, uri: Uri) -> Response {
    let reason = format!("{} does not take {method}", uri.path());
    refuse(StatusCode::METHOD_NOT_ALLOWED, ApiCode::Method, reason)
}

/// How a configuration is pushed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PushQuery {
    /// Answer plan and findings, change nothing. Default false.
    #[serde(default)]
    dry_run: bool,
    /// Revert unless confirmed within so many seconds, at most 3600; 0 commits at once. Default 30.
    #[serde(default = "confirm_default")]
    confirm_seconds: u32,
}

fn confirm_default() -> u32 {
    CONFIRM
}

/// Brings a configuration into force, whole or not at all; with `dry_run` only says what would happen.
#[utoipa::path(put, path = "/v1/config", tag = "config", params(PushQuery),
    request_body = ApplianceConfig,
    responses(
        (status = 200, body = Answer, description = "applied or already in force; with dry_run a DryRun"),
        (status = 409, body = Answer, description = "stale, changed, or blobs are missing"),
        (status = 413, body = Answer, description = "the body is too large"),
        (status = 422, body = Answer, description = "rejected with all findings"),
        (status = 500, body = Answer, description = "failed, rolled back or not"),
        (status = 503, body = Answer, description = "busy, retry later")))]
pub(super) async fn push(
    State(app): Shared,
    Query(query): Query<PushQuery>,
    Raw(body): Raw,
) -> Response {
    if query.dry_run {
        let preview: DryRun = app.handle.dry_run(body).await;
        return reply::json(StatusCode::OK, &preview);
    }
    if query.confirm_seconds > CONFIRM_MAX {
        let reason = format!("confirm_seconds must be 0 to {CONFIRM_MAX}");
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, ApiCode::Query, reason);
    }
    let seconds = Some(query.confirm_seconds).filter(|seconds| *seconds > 0);
    let confirm = seconds.map(|seconds| Duration::from_secs(seconds.into()));
    reply::answer(&app.handle.push(body, confirm).await)
}

/// The manager has reached the appliance on the new configuration: commits it. Over a connection that is older than the
/// configuration it proves nothing, and is refused.
#[utoipa::path(post, path = "/v1/config/confirm", tag = "config", request_body = Confirm,
    responses((status = 200, body = ConfirmAnswer), (status = 409, body = ConfirmAnswer),
        (status = 422, body = Answer), (status = 500, body = ConfirmAnswer)))]
pub(super) async fn confirm(
    State(app): Shared,
    Extension(Connected(connected)): Extension<Connected>,
    Json(body): Json<Confirm>,
) -> Response {
    reply::confirmed(&app.handle.confirm_over(body.generation, connected).await)
}

/// The configuration in force, byte for byte as it was pushed.
#[utoipa::path(get, path = "/v1/config", tag = "config",
    responses((status = 200, body = ApplianceConfig), (status = 404, body = Answer)))]
pub(super) async fn config(State(app): Shared) -> Response {
    match app.handle.config().await {
        Some(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        None => {
            refuse(StatusCode::NOT_FOUND, ApiCode::Unconfigured, "there is no configuration yet")
        }
    }
}

/// How things are.
#[utoipa::path(get, path = "/v1/status", tag = "state",
    responses((status = 200, body = StatusReport)))]
pub(super) async fn status(State(app): Shared) -> Response {
    let mut status = app.handle.status();
    status.alarms.extend(app.clock.alarm());
    reply::json(StatusCode::OK, &status)
}

/// Whether things are as they should be.
#[utoipa::path(get, path = "/v1/health", tag = "state",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn health(State(app): Shared) -> Response {
    reply::health(&app.handle.health())
}

/// Counters and gauges as OpenMetrics text.
#[utoipa::path(get, path = "/metrics", tag = "state",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics_text(State(app): Shared) -> Response {
    let usage = app.handle.usage().await;
    let text = metrics::text(app.handle.status(), app.handle.totals(), usage);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// Bytes and packets by public address, network, forward and rule; connection tracking; source ports.
#[utoipa::path(get, path = "/v1/usage", tag = "state",
    responses((status = 200, body = UsageReport)))]
pub(super) async fn usage(State(app): Shared) -> Response {
    reply::json(StatusCode::OK, &app.handle.usage().await)
}

/// Which log entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Only entries with a higher number. Default 0.
    #[serde(default)]
    after: u64,
    /// Entries at most, up to 1000. Default 200.
    #[serde(default = "logs_default")]
    limit: u32,
}

fn logs_default() -> u32 {
    LOGS
}

/// The log ring, oldest first.
#[utoipa::path(get, path = "/v1/logs", tag = "state", params(LogQuery),
    responses((status = 200, body = LogPage)))]
pub(super) async fn logs(State(app): Shared, Query(query): Query<LogQuery>) -> Response {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    reply::json(StatusCode::OK, &app.logs.page(query.after, limit))
}

/// Switches off or restarts, cleanly.
#[utoipa::path(post, path = "/v1/power", tag = "machine", request_body = PowerRequest,
    responses((status = 202, description = "under way"), (status = 422, body = Answer)))]
pub(super) async fn power(State(app): Shared, Json(request): Json<PowerRequest>) -> Response {
    tracing::info!(action = ?request.action, "power change asked for");
    // a full queue means that the machine is going down already
    let _ = app.power.try_send(request.action);
    StatusCode::ACCEPTED.into_response()
}

/// A new certificate and key, used from the next connection on. Refused when clients of the new authority would not trust
/// the certificate, or the new authority not the client that sends it.
#[utoipa::path(post, path = "/v1/identity", tag = "machine", request_body = Identity,
    responses((status = 204, description = "in use"),
        (status = 422, body = Answer, description = "cannot be used; the finding's path names the field"),
        (status = 500, body = Answer, description = "cannot be kept; the old one stays in use")))]
pub(super) async fn identity(
    State(app): Shared,
    Extension(caller): Extension<Caller>,
    Json(identity): Json<Identity>,
) -> Response {
    let Err(error) = app.identities.renew(&identity, &caller.0) else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let status = match error {
        IdentityError::Keep { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    rejected(status, vec![ApiCode::Identity.at(error.field(), chain(&error))])
}
