//! Public ranges.

use axum::extract::State;

use super::App;
use super::reply::{Reply, shown};
use super::request::{Body, Named, RequestId};
use crate::error::Problem;
use crate::model::{PublicRange, PublicRangeSpec};
use crate::ops::{Change, find_public_range};
use crate::store::zones;

/// All public ranges.
#[utoipa::path(get, path = "/v1/public-ranges", tag = "public-ranges",
    responses((status = 200, body = Vec<PublicRange>)))]
pub(super) async fn list(State(app): State<App>) -> Reply {
    Ok(shown(&zones::public_ranges(&mut *app.read().await?).await?))
}

/// One public range, by name or id.
#[utoipa::path(get, path = "/v1/public-ranges/{id}", tag = "public-ranges",
    params(("id" = String, Path, description = "name or id")),
    responses((status = 200, body = PublicRange), (status = "4XX", body = Problem)))]
pub(super) async fn show(State(app): State<App>, Named(name): Named) -> Reply {
    Ok(shown(&find_public_range(&mut *app.read().await?, None, &name).await?))
}

/// Creates a public range.
#[utoipa::path(post, path = "/v1/public-ranges", tag = "public-ranges", request_body = PublicRangeSpec,
    params(("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 201, body = PublicRange), (status = "4XX", body = Problem),
        (status = 507, body = Problem, description = "a pool is exhausted")))]
pub(super) async fn create(
    State(app): State<App>,
    request: RequestId,
    Body(spec): Body<PublicRangeSpec>,
) -> Reply {
    app.change(request, Change::CreatePublicRange(spec)).await
}

/// Deletes a public range that nothing depends on; answers with what it was.
#[utoipa::path(delete, path = "/v1/public-ranges/{id}", tag = "public-ranges",
    params(("id" = String, Path, description = "name or id"),
        ("Idempotency-Key" = Option<String>, Header, description = "request id")),
    responses((status = 200, body = PublicRange), (status = "4XX", body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    Named(name): Named,
    request: RequestId,
) -> Reply {
    app.change(request, Change::DeletePublicRange(name)).await
}
