//! Routes of the diagnostics.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use futures_util::stream;
use sluice_api::ApiCode;
use sluice_api::report::{
    Answer, ArpingRequest, CaptureRequest, DiagnosticOutput, PingRequest, TracerouteRequest,
};

use super::body::{Json, refuse};
use super::reply;
use super::routes::{App, Shared};
use utoipa::ToSchema;

use crate::causes::chain;
use crate::diagnostics::{CONTENT_TYPE, Capture, DiagnosticError};

/// A capture file for `tcpdump -r` and its like.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code)] // it is a description only
pub(super) struct PcapFile(Vec<u8>);

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/diagnostics/ping", post(ping))
        .route("/v1/diagnostics/traceroute", post(traceroute))
        .route("/v1/diagnostics/arping", post(arping))
        .route("/v1/diagnostics/capture", post(capture))
}

/// Sends echo requests to an address.
#[utoipa::path(post, path = "/v1/diagnostics/ping", tag = "diagnostics",
    request_body = PingRequest,
    responses(
        (status = 200, body = DiagnosticOutput, description = "done, whether it was reached or not"),
        (status = 422, body = Answer), (status = 500, body = Answer),
        (status = 503, body = Answer, description = "busy, retry later")))]
pub(super) async fn ping(State(app): Shared, Json(request): Json<PingRequest>) -> Response {
    told(app.diagnostics.ping(&request).await)
}

/// Asks which routers are on the way to an address.
#[utoipa::path(post, path = "/v1/diagnostics/traceroute", tag = "diagnostics",
    request_body = TracerouteRequest,
    responses(
        (status = 200, body = DiagnosticOutput, description = "done, whether it was reached or not"),
        (status = 422, body = Answer), (status = 500, body = Answer),
        (status = 503, body = Answer, description = "busy, retry later")))]
pub(super) async fn traceroute(
    State(app): Shared,
    Json(request): Json<TracerouteRequest>,
) -> Response {
    told(app.diagnostics.traceroute(&request).await)
}

/// Asks on a link which MAC an address has: ARP for IPv4, neighbour solicitation for IPv6.
#[utoipa::path(post, path = "/v1/diagnostics/arping", tag = "diagnostics",
    request_body = ArpingRequest,
    responses(
        (status = 200, body = DiagnosticOutput, description = "done, whether anybody answered or not"),
        (status = 422, body = Answer), (status = 500, body = Answer),
        (status = 503, body = Answer, description = "busy, retry later")))]
pub(super) async fn arping(State(app): Shared, Json(request): Json<ArpingRequest>) -> Response {
    told(app.diagnostics.arping(&request).await)
}

/// Captures packets on a link; the file comes while it is written and ends at the first limit reached.
#[utoipa::path(post, path = "/v1/diagnostics/capture", tag = "diagnostics",
    request_body = CaptureRequest,
    responses(
        (status = 200, body = PcapFile, content_type = "application/vnd.tcpdump.pcap"),
        (status = 422, body = Answer), (status = 500, body = Answer),
        (status = 503, body = Answer, description = "busy, retry later")))]
pub(super) async fn capture(State(app): Shared, Json(request): Json<CaptureRequest>) -> Response {
    match app.diagnostics.capture(&request).await {
        Ok(capture) => {
            tracing::info!(link = %request.link, "capture started");
            let pieces = stream::unfold(capture, |mut capture: Capture| async move {
                let piece = capture.next().await?;
                Some((Ok::<_, Infallible>(piece), capture))
            });
            ([(header::CONTENT_TYPE, CONTENT_TYPE)], Body::from_stream(pieces)).into_response()
        }
        Err(error) => refused(error),
    }
}

fn told(output: Result<DiagnosticOutput, DiagnosticError>) -> Response {
    output.map_or_else(refused, |output| reply::json(StatusCode::OK, &output))
}

fn refused(error: DiagnosticError) -> Response {
    match error {
        DiagnosticError::Refused(finding) => {
            reply::rejected(StatusCode::UNPROCESSABLE_ENTITY, vec![finding])
        }
        DiagnosticError::Busy => {
            let mut response =
                refuse(StatusCode::SERVICE_UNAVAILABLE, ApiCode::Busy, error.to_string());
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
        error => refuse(StatusCode::INTERNAL_SERVER_ERROR, ApiCode::Diagnostic, chain(&error)),
    }
}
