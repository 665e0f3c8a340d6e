//! Physical networks.

use axum::extract::State;

use super::App;
use super::reply::{Reply, shown};
use super::request::{Body, Named, RequestId};
use crate::error::Problem;
use crate::model::{PhysicalNetwork, PhysicalNetworkPatch, PhysicalNetworkSpec};
use crate::ops::{Change, find_physical_network};
use crate::store::zones;

/// All physical networks.
#[utoipa::path(get, path = "/v1/physical-networks", tag = "physical-networks",
    responses((status = 200, body = Vec<PhysicalNetwork>)))]
pub(super) async fn list(State(app): State<App>) -> Reply {
    Ok(shown(&zones::physical_networks(&mut *app.read().await?).await?))
}

/// One physical network, by name or id.
#[utoipa::path(get, path = "/v1/physical-networks/{id}", tag = "physical-networks",
    params(("id" = String, Path, description = "name or id")),
    responses((status = 200, body = PhysicalNetwork), (status = "4XX", body = Problem)))]
pub(super) async fn show(State(app): State<App>, Named(name): Named) -> Reply {
    Ok(shown(&find_physical_network(&mut *app.read().await?, None, &name).await?))
}

/// Creates a physical network.
#[utoipa::path(post, path = "/v1/physical-networks", tag = "physical-networks", request_body = PhysicalNetworkSpec,
    params(("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 201, body = PhysicalNetwork), (status = "4XX", body = Problem),
        (status = 507, body = Problem, description = "a pool is exhausted")))]
pub(super) async fn create(
    State(app): State<App>,
    request: RequestId,
    Body(spec): Body<PhysicalNetworkSpec>,
) -> Reply {
    app.change(request, Change::CreatePhysicalNetwork(spec)).await
}

/// Changes a physical network; what is left out stays.
#[utoipa::path(patch, path = "/v1/physical-networks/{id}", tag = "physical-networks", request_body = PhysicalNetworkPatch,
    params(("id" = String, Path, description = "name or id"),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = PhysicalNetwork), (status = "4XX", body = Problem)))]
pub(super) async fn update(
    State(app): State<App>,
    Named(name): Named,
    request: RequestId,
    Body(patch): Body<PhysicalNetworkPatch>,
) -> Reply {
    app.change(request, Change::UpdatePhysicalNetwork(name, patch)).await
}

/// Deletes a physical network that nothing depends on; answers with what it was.
#[utoipa::path(delete, path = "/v1/physical-networks/{id}", tag = "physical-networks",
    params(("id" = String, Path, description = "name or id"),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = PhysicalNetwork), (status = "4XX", body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    Named(name): Named,
    request: RequestId,
) -> Reply {
    app.change(request, Change::DeletePhysicalNetwork(name)).await
}
