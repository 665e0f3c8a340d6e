//! Route of the tracking table: which connections there are between two ends.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use sluice_api::ApiCode;
use sluice_api::report::{Answer, FlowsReport, FlowsRequest, TrackedFlow};
use sluice_sys::nft::eval::{Flow, Parts, Tuple};

use super::body::{Json, refuse};
use super::reply;
use super::routes::{App, Shared};
use crate::causes::chain;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/v1/diagnostics/flows", post(flows))
}

/// Tells which connections are tracked now, with what they are translated to.
#[utoipa::path(post, path = "/v1/diagnostics/flows", tag = "diagnostics",
    request_body = FlowsRequest,
    responses((status = 200, body = FlowsReport), (status = 422, body = Answer),
        (status = 500, body = Answer)))]
pub(super) async fn flows(State(app): Shared, Json(request): Json<FlowsRequest>) -> Response {
    match app.handle.flows().await {
        Ok(flows) => reply::json(StatusCode::OK, &report(&request, &flows)),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, ApiCode::Diagnostic, chain(&error)),
    }
}

fn report(request: &FlowsRequest, flows: &[Flow]) -> FlowsReport {
    let fitting = flows.iter().filter(|flow| fits(request, flow));
    let mut told: Vec<TrackedFlow> = fitting.map(told).collect();
    told.sort_unstable();
    let total = u64::try_from(told.len()).unwrap_or(u64::MAX);
    told.truncate(FlowsReport::MOST);
    FlowsReport { flows: told, total }
}

/// Either end may be said as it is before translation or after.
fn fits(request: &FlowsRequest, flow: &Flow) -> bool {
    let (asked, answered) = (&flow.original, &flow.reply);
    let has = |wanted: Option<IpAddr>, ends: [IpAddr; 2]| {
        wanted.is_none_or(|wanted| ends.contains(&wanted))
    };
    let number = asked.protocol.number();
    let protocol = request
        .protocol
        .is_none_or(|wanted| wanted.number() == number || wanted.number() == 1 && number == 58);
    let to = [destination_port(asked), source_port(answered)];
    let port = request.port.is_none_or(|wanted| to.contains(&Some(wanted.get())));
    has(request.from, [asked.source, answered.destination])
        && has(request.to, [asked.destination, answered.source])
        && protocol
        && port
}

fn source_port(tuple: &Tuple) -> Option<u16> {
    match tuple.parts {
        Parts::Ports(source, _) => Some(source),
        Parts::Icmp { .. } | Parts::None => None,
    }
}

fn destination_port(tuple: &Tuple) -> Option<u16> {
    match tuple.parts {
        Parts::Ports(_, destination) => Some(destination),
        Parts::Icmp { .. } | Parts::None => None,
    }
}

fn told(flow: &Flow) -> TrackedFlow {
    let translated = flow.translated();
    TrackedFlow {
        opened: words(&flow.original),
        answered: words(&flow.reply),
        destination: translated.destination.map(|(address, port)| end(address, port)),
        source: translated.source.map(|(address, port)| end(address, port)),
        mark: flow.mark,
    }
}

fn words(tuple: &Tuple) -> String {
    let source = end(tuple.source, source_port(tuple));
    let destination = end(tuple.destination, destination_port(tuple));
    format!("{} {source} > {destination}", tuple.protocol)
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (_, None) => address.to_string(),
        (IpAddr::V4(_), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(_), Some(port)) => format!("[{address}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use sluice_sys::nft::Protocol;

    use super::*;

    fn tuple(source: (&str, u16), destination: (&str, u16)) -> Tuple {
        Tuple {
            source: source.0.parse().unwrap(),
            destination: destination.0.parse().unwrap(),
            protocol: Protocol::TCP,
            parts: Parts::Ports(source.1, destination.1),
        }
    }

    #[test]
    fn a_connection_is_found_by_its_ends_on_either_side_of_a_translation() {
        let flow = Flow {
            original: tuple(("192.0.2.80", 40_000), ("198.51.100.11", 80)),
            reply: tuple(("10.1.1.23", 8080), ("192.0.2.80", 40_000)),
            mark: 0,
            master: None,
            id: None,
        };
        let asked = |to: &str, port: u16| {
            let request = FlowsRequest {
                from: Some("192.0.2.80".parse().unwrap()),
                to: Some(to.parse().unwrap()),
                protocol: Some("tcp".parse().unwrap()),
                port: Some(sluice_api::types::Port::fixed(port)),
            };
            report(&request, std::slice::from_ref(&flow))
        };
        let found = asked("198.51.100.11", 80);
        assert_eq!(found, asked("10.1.1.23", 8080));
        assert_eq!((found.total, asked("10.1.1.24", 8080).total), (1, 0));
        assert_eq!(
            found.flows[0].to_string(),
            "tcp 192.0.2.80:40000 > 198.51.100.11:80, destination became 10.1.1.23:8080"
        );
    }
}
