//! Routes of the blobs. There is none to read one: what is a secret here leaves by no API.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::put;
use sluice_api::ApiCode;
use sluice_api::report::Answer;
use sluice_api::types::BlobDigest;

use super::body::{Raw, refuse};
use super::reply::rejected;
use super::routes::{App, Shared};
use crate::blobs::BlobError;
use crate::causes::chain;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/v1/blobs/{digest}", put(put_blob).head(has_blob))
}

fn digest(text: &str) -> Result<BlobDigest, Response> {
    text.parse().map_err(|error: sluice_api::types::InvalidValue| {
        let finding = ApiCode::BlobDigest.at(text, error.to_string());
        rejected(StatusCode::UNPROCESSABLE_ENTITY, vec![finding])
    })
}

/// Keeps a blob, at most 8 MiB, for a configuration that names it; the path says the digest of its bytes.
#[utoipa::path(put, path = "/v1/blobs/{digest}", tag = "config",
    params(("digest" = BlobDigest, Path, description = "`sha256:` and 64 hexadecimal digits")),
    request_body(content = String, content_type = "application/octet-stream"),
    responses(
        (status = 204, description = "it is here, now or before"),
        (status = 413, body = Answer, description = "it is too large"),
        (status = 422, body = Answer, description = "its bytes have another digest"),
        (status = 500, body = Answer, description = "the disk did not take it"),
        (status = 507, body = Answer, description = "no room")))]
pub(super) async fn put_blob(
    State(app): Shared,
    Path(text): Path<String>,
    Raw(body): Raw,
) -> Response {
    let digest = match digest(&text) {
        Ok(digest) => digest,
        Err(response) => return response,
    };
    let Err(error) = app.handle.put_blob(digest, body).await else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let (status, code) = match &error {
        BlobError::Digest { .. } => (StatusCode::UNPROCESSABLE_ENTITY, ApiCode::BlobDigest),
        BlobError::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, ApiCode::BlobsFull),
        BlobError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, ApiCode::TooLarge),
        BlobError::Keep(_) => (StatusCode::INTERNAL_SERVER_ERROR, ApiCode::NotKept),
    };
    refuse(status, code, chain(&error))
}

/// Whether a blob is here.
#[utoipa::path(head, path = "/v1/blobs/{digest}", tag = "config",
    params(("digest" = BlobDigest, Path, description = "`sha256:` and 64 hexadecimal digits")),
    responses(
        (status = 200, description = "it is here"),
        (status = 404, description = "it is not, or this is no digest")))]
pub(super) async fn has_blob(State(app): Shared, Path(text): Path<String>) -> Response {
    let here = text.parse().is_ok_and(|digest| app.handle.has_blob(&digest));
    if here { StatusCode::OK } else { StatusCode::NOT_FOUND }.into_response()
}
