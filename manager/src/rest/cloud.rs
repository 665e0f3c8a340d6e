//! Whole clouds, what is allocated, and whether the manager works.

#![allow(unused_qualifications)] // what utoipa expands `params(Type)` to

use axum::extract::State;
use serde::Deserialize;
use sluice_api::Digest;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::reply::{Reply, shown};
use super::request::{Body, Query, RequestId};
use crate::alloc::PoolName;
use crate::error::Problem;
use crate::model::{Allocation, CloudSpec};
use crate::ops::{self, Change, CloudReport};
use crate::store::allocations as taken;

/// How to apply.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// Only say what would change. Default false.
    #[serde(default)]
    dry_run: bool,
    /// Delete what the zones of the description have and the description does not. Default false: it stays.
    #[serde(default)]
    prune: bool,
    /// The `digest` of an earlier answer: make exactly those changes, or refuse with `moved`. Default: make whatever
    /// there is to change.
    expect: Option<Digest>,
}

/// Makes the zones that the description names what it says, in one transaction.
#[utoipa::path(post, path = "/v1/cloud", tag = "cloud", request_body = Description,
    params(How, ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = CloudReport), (status = "4XX", body = Problem),
        (status = 507, body = Problem, description = "a pool is exhausted")))]
pub(super) async fn apply(
    State(app): State<App>,
    Query(how): Query<How>,
    request: RequestId,
    Body(cloud): Body<CloudSpec>,
) -> Reply {
    let How { dry_run, prune, expect } = how;
    app.change(request, Change::Apply { cloud, prune, dry_run, expect }).await
}

/// The cloud as a description that applies empty.
#[utoipa::path(get, path = "/v1/cloud", tag = "cloud",
    responses((status = 200, body = Description)))]
pub(super) async fn export(State(app): State<App>) -> Reply {
    Ok(shown(&ops::export(&mut *app.read().await?).await?))
}

/// Which allocations.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only this pool, such as `public:z-1`.
    #[param(value_type = Option<String>)]
    pool: Option<PoolName>,
}

/// Everything that is taken from a pool, with its owner and state.
#[utoipa::path(get, path = "/v1/allocations", tag = "cloud", params(Which),
    responses((status = 200, body = Vec<Allocation>)))]
pub(super) async fn allocations(State(app): State<App>, Query(which): Query<Which>) -> Reply {
    Ok(shown(&taken::list(&mut *app.read().await?, which.pool.as_ref()).await?))
}

/// Answers when the store can be read.
#[utoipa::path(get, path = "/v1/health", tag = "cloud",
    responses((status = 200, description = "it works"), (status = "5XX", body = Problem)))]
pub(super) async fn health(State(app): State<App>) -> Reply {
    sqlx::query("SELECT 1").execute(&mut *app.read().await?).await?;
    Ok(shown(&serde_json::json!({ "healthy": true })))
}

/// The schema of a description, which the list of kinds fills in.
#[derive(ToSchema)]
#[allow(dead_code)] // it is a name only
pub(super) struct Description {}
