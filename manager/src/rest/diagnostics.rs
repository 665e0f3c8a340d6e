//! Diagnostics of an appliance, passed on to its agent; the manager judges the request before it travels.

use axum::http::header;
use axum::response::IntoResponse as _;
use sluice_api::report::{
    ArpingRequest, CaptureRequest, DiagnosticOutput, PingRequest, TracerouteRequest,
};
use utoipa::ToSchema;

use super::For;
use super::appliances::client;
use super::reply::{Reply, shown};
use super::request::{Body, Named};
use crate::error::Problem;

/// Sends echo requests from the appliance to an address.
#[utoipa::path(post, path = "/v1/appliances/{id}/diagnostics/ping", tag = "appliances",
    request_body = PingRequest, params(("id" = String, Path)),
    responses((status = 200, body = DiagnosticOutput), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked"),
        (status = 503, body = Problem, description = "the appliance has enough to do, retry later")))]
pub(super) async fn ping(
    For(app): For,
    Named(id): Named,
    Body(request): Body<PingRequest>,
) -> Reply {
    let (client, failed) = client(&app, &id).await?;
    Ok(shown(&client.ping(&request).await.map_err(failed)?))
}

/// Asks from the appliance which routers are on the way to an address.
#[utoipa::path(post, path = "/v1/appliances/{id}/diagnostics/traceroute", tag = "appliances",
    request_body = TracerouteRequest, params(("id" = String, Path)),
    responses((status = 200, body = DiagnosticOutput), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked"),
        (status = 503, body = Problem, description = "the appliance has enough to do, retry later")))]
pub(super) async fn traceroute(
    For(app): For,
    Named(id): Named,
    Body(request): Body<TracerouteRequest>,
) -> Reply {
    let (client, failed) = client(&app, &id).await?;
    Ok(shown(&client.traceroute(&request).await.map_err(failed)?))
}

/// Asks on a link of the appliance which MAC an address has.
#[utoipa::path(post, path = "/v1/appliances/{id}/diagnostics/arping", tag = "appliances",
    request_body = ArpingRequest, params(("id" = String, Path)),
    responses((status = 200, body = DiagnosticOutput), (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked"),
        (status = 503, body = Problem, description = "the appliance has enough to do, retry later")))]
pub(super) async fn arping(
    For(app): For,
    Named(id): Named,
    Body(request): Body<ArpingRequest>,
) -> Reply {
    let (client, failed) = client(&app, &id).await?;
    Ok(shown(&client.arping(&request).await.map_err(failed)?))
}

/// Captures packets on a link of the appliance; the answer comes when the capture has ended.
#[utoipa::path(post, path = "/v1/appliances/{id}/diagnostics/capture", tag = "appliances",
    request_body = CaptureRequest, params(("id" = String, Path)),
    responses((status = 200, body = PcapFile, content_type = "application/vnd.tcpdump.pcap"),
        (status = "4XX", body = Problem),
        (status = 502, body = Problem, description = "the appliance cannot be asked"),
        (status = 503, body = Problem, description = "the appliance has enough to do, retry later")))]
pub(super) async fn capture(
    For(app): For,
    Named(id): Named,
    Body(request): Body<CaptureRequest>,
) -> Reply {
    let (client, failed) = client(&app, &id).await?;
    let file = client.capture(&request).await.map_err(failed)?;
    let kind = [(header::CONTENT_TYPE, "application/vnd.tcpdump.pcap")];
    Ok((kind, file).into_response())
}

/// A capture file for `tcpdump -r` and its like.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code)] // it is a description only
pub(super) struct PcapFile(Vec<u8>);
