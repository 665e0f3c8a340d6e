//! Request bodies and queries: read within limits, decoded strictly; what is wrong is answered as findings.
//!
//! Guarantees: a body takes no more memory than [`MAX_BODY`] as sent, and unpacked no more than [`MAX_CONFIG`] and an eighth
//! of the machine's memory, whatever it claims to be.

use std::io::Read as _;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use sluice_api::{ApiCode, MAX_BODY, MAX_CONFIG};

use super::reply::rejected;

/// Longest wait for the whole body.
const PATIENCE: Duration = Duration::from_mins(1);
/// Bytes of a body that is too large which are still taken, and dropped, so that its sender reads our answer instead of
/// a broken connection.
const DRAINED: usize = 2 * MAX_BODY;

/// A body of at most [`MAX_BODY`] bytes as sent, unpacked.
pub(super) struct Raw(pub(super) Bytes);

/// A decoded body.
pub(super) struct Json<T>(pub(super) T);

/// A decoded query.
pub(super) struct Query<T>(pub(super) T);

/// What is wrong with a body as such.
pub(super) fn refuse(status: StatusCode, code: ApiCode, reason: impl Into<String>) -> Response {
    rejected(status, vec![code.of_request(reason)])
}

impl<S: Sync> FromRequest<S> for Raw {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let late = |_| {
            refuse(StatusCode::REQUEST_TIMEOUT, ApiCode::TooSlow, "the body did not come in time")
        };
        let packed = is_packed(request.headers())?;
        let body = tokio::time::timeout(PATIENCE, read(request.into_body()));
        let body = body.await.unwrap_or_else(|e| Err(late(e)))?;
        if packed { unpack(body.0, most()).await } else { Ok(body) }
    }
}

/// Whether a body is gzip; any other way is refused.
fn is_packed(headers: &HeaderMap) -> Result<bool, Response> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(other) => {
            let reason = format!("`{}` is not taken, gzip is", String::from_utf8_lossy(other));
            Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, ApiCode::Encoding, reason))
        }
    }
}

/// Most bytes that a body may unpack to on this machine.
fn most() -> usize {
    let info = rustix::system::sysinfo();
    let memory = info.totalram.saturating_mul(info.mem_unit.into());
    MAX_CONFIG.min(usize::try_from(memory / 8).unwrap_or(MAX_CONFIG))
}

async fn unpack(packed: Bytes, most: usize) -> Result<Raw, Response> {
    // it takes a tenth of a second for the largest
    let unpacked = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        MultiGzDecoder::new(&*packed).take(bound).read_to_end(&mut bytes).map(|_| bytes)
    });
    let bad = |reason: String| refuse(StatusCode::BAD_REQUEST, ApiCode::Encoding, reason);
    let bytes = unpacked
        .await
        .map_err(|error| bad(error.to_string()))?
        .map_err(|error| bad(format!("the body does not unpack: {error}")))?;
    if bytes.len() > most {
        let reason = format!("the body unpacks to more than {most} bytes");
        return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, ApiCode::TooLarge, reason));
    }
    Ok(Raw(bytes.into()))
}

async fn read(body: Body) -> Result<Raw, Response> {
    let mut stream = body.into_data_stream();
    let mut bytes = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| {
            refuse(
                StatusCode::BAD_REQUEST,
                ApiCode::BrokenBody,
                format!("the body broke off: {error}"),
            )
        })?;
        if bytes.len() + piece.len() > MAX_BODY {
            drop(bytes);
            drain(&mut stream).await;
            let reason = format!("the body is larger than {MAX_BODY} bytes");
            return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, ApiCode::TooLarge, reason));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Raw(bytes.freeze()))
}

async fn drain(stream: &mut BodyDataStream) {
    let mut left = DRAINED;
    while let Some(Ok(piece)) = stream.next().await {
        if piece.len() > left {
            return;
        }
        left -= piece.len();
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let Raw(bytes) = Raw::from_request(request, state).await?;
        let decoded = sluice_api::decode::decode(&bytes);
        decoded.map(Self).map_err(|findings| rejected(StatusCode::UNPROCESSABLE_ENTITY, findings))
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let query = axum::extract::Query::try_from_uri(&parts.uri);
        query.map(|axum::extract::Query(query)| Self(query)).map_err(|error| {
            refuse(
                StatusCode::UNPROCESSABLE_ENTITY,
                ApiCode::Query,
                format!("query: {}", error.body_text()),
            )
        })
    }
}
