//! Guests.

use axum::extract::State;
use sluice_api::types::ObjectId;

use super::App;
use super::reply::{Reply, shown};
use super::request::{Body, Named, Query, RequestId};
use crate::error::Problem;
use crate::model::{Guest, GuestPatch, GuestSpec};
use crate::ops::{Change, find_guest, find_network};
use crate::store::guests;

/// Which guests.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only those in this network, by name or id.
    #[param(value_type = Option<String>)]
    network: Option<ObjectId>,
}

/// All guests, or those of a network.
#[utoipa::path(get, path = "/v1/guests", tag = "guests", params(Filter),
    responses((status = 200, body = Vec<Guest>), (status = "4XX", body = Problem)))]
pub(super) async fn list(State(app): State<App>, Query(filter): Query<Filter>) -> Reply {
    let mut conn = app.read().await?;
    let network = match &filter.network {
        Some(name) => Some(find_network(&mut conn, None, name).await?.id),
        None => None,
    };
    let network = network.as_ref().map(ObjectId::as_str);
    Ok(shown(&guests::guests(&mut conn, network, None).await?))
}

/// One guest, by name or id.
#[utoipa::path(get, path = "/v1/guests/{id}", tag = "guests",
    params(("id" = String, Path, description = "name or id")),
    responses((status = 200, body = Guest), (status = "4XX", body = Problem)))]
pub(super) async fn show(State(app): State<App>, Named(name): Named) -> Reply {
    Ok(shown(&find_guest(&mut *app.read().await?, &name).await?))
}

/// Creates a guest.
#[utoipa::path(post, path = "/v1/guests", tag = "guests", request_body = GuestSpec,
    params(("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 201, body = Guest), (status = "4XX", body = Problem),
        (status = 507, body = Problem, description = "a pool is exhausted")))]
pub(super) async fn create(
    State(app): State<App>,
    request: RequestId,
    Body(spec): Body<GuestSpec>,
) -> Reply {
    app.change(request, Change::CreateGuest(spec)).await
}

/// Changes a guest; what is left out stays.
#[utoipa::path(patch, path = "/v1/guests/{id}", tag = "guests", request_body = GuestPatch,
    params(("id" = String, Path, description = "name or id"),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = Guest), (status = "4XX", body = Problem)))]
pub(super) async fn update(
    State(app): State<App>,
    Named(name): Named,
    request: RequestId,
    Body(patch): Body<GuestPatch>,
) -> Reply {
    app.change(request, Change::UpdateGuest(name, patch)).await
}

/// Deletes a guest that nothing depends on; answers with what it was.
#[utoipa::path(delete, path = "/v1/guests/{id}", tag = "guests",
    params(("id" = String, Path, description = "name or id"),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = Guest), (status = "4XX", body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    Named(name): Named,
    request: RequestId,
) -> Reply {
    app.change(request, Change::DeleteGuest(name)).await
}
