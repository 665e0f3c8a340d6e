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
            location(&names, &host, path).map_or_else(answers::not_found, |it| answers::moved(&it))
        }
        _ => answers::refuse_whoever(request.headers(), Refusal::Host),
    };
    answers::protect(&names, response.headers_mut());
    response
}

/// None for what is no path, such as the `*` of OPTIONS: it would become part of the host.
fn location(names: &Names, host: &str, path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return None;
    }
    let name = without_port(host);
    let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    Some(match names.https_port {
        443 => format!("https://{name}{path}"),
        port => format!("https://{name}:{port}{path}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_leads_anywhere() {
        let mut names = Names::default();
        names.https_port = 443;
        let to = |names: &Names, path| location(names, "console.example.org", path);
        assert_eq!(to(&names, "/a?b").as_deref(), Some("https://console.example.org/a?b"));
        assert_eq!((to(&names, "*"), to(&names, ".evil.example.net/")), (None, None));
        names.https_port = 8443;
        assert_eq!(location(&names, "[::1]", "/").as_deref(), Some("https://[::1]:8443/"));
    }
}
