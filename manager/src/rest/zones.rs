//! Zones.

use axum::extract::State;

use super::App;
use super::reply::{Reply, shown};
use super::request::{Body, Named, RequestId};
use crate::error::Problem;
use crate::model::{Zone, ZonePatch, ZoneSpec};
use crate::ops::{Change, find_zone};
use crate::store::zones;

/// All zones.
#[utoipa::path(get, path = "/v1/zones", tag = "zones",
    responses((status = 200, body = Vec<Zone>)))]
pub(super) async fn list(State(app): State<App>) -> Reply {
    Ok(shown(&zones::zones(&mut *app.read().await?).await?))
}

/// One zone, by name or id.
#[utoipa::path(get, path = "/v1/zones/{id}", tag = "zones",
    params(("id" = String, Path, description = "name or id")),
    responses((status = 200, body = Zone), (status = "4XX", body = Problem)))]
pub(super) async fn show(State(app): State<App>, Named(name): Named) -> Reply {
    Ok(shown(&find_zone(&mut *app.read().await?, &name).await?))
}

/// Creates a zone.
#[utoipa::path(post, path = "/v1/zones", tag = "zones", request_body = ZoneSpec,
    params(("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 201, body = Zone), (status = "4XX", body = Problem),
        (status = 507, body = Problem, description = "a pool is exhausted")))]
pub(super) async fn create(
    State(app): State<App>,
    request: RequestId,
    Body(spec): Body<ZoneSpec>,
) -> Reply {
    app.change(request, Change::CreateZone(spec)).await
}

/// Changes a zone; what is left out stays.
#[utoipa::path(patch, path = "/v1/zones/{id}", tag = "zones", request_body = ZonePatch,
    params(("id" = String, Path, description = "name or id"),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = Zone), (status = "4XX", body = Problem)))]
pub(super) async fn update(
    State(app): State<App>,
    Named(name): Named,
    request: RequestId,
    Body(patch): Body<ZonePatch>,
) -> Reply {
    app.change(request, Change::UpdateZone(name, patch)).await
}

/// Deletes a zone that nothing depends on; answers with what it was.
#[utoipa::path(delete, path = "/v1/zones/{id}", tag = "zones",
    params(("id" = String, Path, description = "name or id"),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = Zone), (status = "4XX", body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    Named(name): Named,
    request: RequestId,
) -> Reply {
    app.change(request, Change::DeleteZone(name)).await
}
