//! Networks.

use axum::extract::State;

use super::App;
use super::reply::{Reply, shown};
use super::request::{Body, Named, RequestId};
use crate::error::Problem;
use crate::model::{Network, NetworkPatch, NetworkSpec};
use crate::ops::{Change, find_network};
use crate::store::networks;

/// All networks.
#[utoipa::path(get, path = "/v1/networks", tag = "networks",
    responses((status = 200, body = Vec<Network>)))]
pub(super) async fn list(State(app): State<App>) -> Reply {
    Ok(shown(&networks::networks(&mut *app.read().await?, None).await?))
}

/// One network, by name or id.
#[utoipa::path(get, path = "/v1/networks/{id}", tag = "networks",
    params(("id" = String, Path, description = "name or id")),
    responses((status = 200, body = Network), (status = "4XX", body = Problem)))]
pub(super) async fn show(State(app): State<App>, Named(name): Named) -> Reply {
    Ok(shown(&find_network(&mut *app.read().await?, None, &name).await?))
}

/// Creates a network.
#[utoipa::path(post, path = "/v1/networks", tag = "networks", request_body = NetworkSpec,
    params(("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 201, body = Network), (status = "4XX", body = Problem),
        (status = 507, body = Problem, description = "a pool is exhausted")))]
pub(super) async fn create(
    State(app): State<App>,
    request: RequestId,
    Body(spec): Body<NetworkSpec>,
) -> Reply {
    app.change(request, Change::CreateNetwork(spec)).await
}

/// Changes a network; what is left out stays.
#[utoipa::path(patch, path = "/v1/networks/{id}", tag = "networks", request_body = NetworkPatch,
    params(("id" = String, Path, description = "name or id"),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = Network), (status = "4XX", body = Problem)))]
pub(super) async fn update(
    State(app): State<App>,
    Named(name): Named,
    request: RequestId,
    Body(patch): Body<NetworkPatch>,
) -> Reply {
    app.change(request, Change::UpdateNetwork(name, patch)).await
}

/// Deletes a network that nothing depends on; answers with what it was.
#[utoipa::path(delete, path = "/v1/networks/{id}", tag = "networks",
    params(("id" = String, Path, description = "name or id"),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = Network), (status = "4XX", body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    Named(name): Named,
    request: RequestId,
) -> Reply {
    app.change(request, Change::DeleteNetwork(name)).await
}
