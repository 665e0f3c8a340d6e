//! Plain HTTP on an address where HTTPS is meant: the way there, and nothing else.

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;

use super::names::{Names, host, without_port};
use super::{Shared, answers};
use crate::grants::Refusal;

/// Answers one request with the same address over HTTPS.
pub(super) fn answer(shared: &Shared, request: &Request<Incoming>) -> Response<Body> {
    let names = shared.names();
    let mut response = match host(request.headers()) {
        Some(host) if names.answers_as(request.headers()) => {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            answers::moved(&location(&names, &host, path))
        }
        _ => answers::refuse_whoever(request.headers(), Refusal::Host),
    };
    answers::protect(&names, response.headers_mut());
    response
}

fn location(names: &Names, host: &str, path: &str) -> String {
    let name = without_port(host);
    let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    match names.https_port {
        443 => format!("https://{name}{path}"),
        port => format!("https://{name}:{port}{path}"),
    }
}
