//! Answers that every path shares, and the headers of all of them.

use axum::body::Body;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::names::Names;
use crate::grants::Refusal;
use crate::values::Origin;

/// Who may load an answer into a page of theirs.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A refusal as the page reads it.
#[derive(Serialize)]
struct Refused {
    code: &'static str,
    message: String,
    may_pass: bool,
    /// Where the link leads instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Origin>,
}

/// `value` as JSON, which nobody may keep.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = whole(status, "application/json", body.into());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn refuse(refusal: Refusal) -> Response<Body> {
    refuse_towards(refusal, None)
}

/// The same, with where the link leads instead.
pub(super) fn refuse_towards(refusal: Refusal, at: Option<Origin>) -> Response<Body> {
    let (code, message, may_pass) = (refusal.code(), refusal.to_string(), refusal.may_pass());
    json(refusal.status(), &Refused { code, message, may_pass, at })
}

/// The same for whoever asks by these headers: a person's browser, which asks for a page, gets one.
pub(super) fn refuse_whoever(asks: &HeaderMap, refusal: Refusal) -> Response<Body> {
    let wanted = asks.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok()).unwrap_or_default();
    if !wanted.contains("text/html") {
        return refuse(refusal);
    }
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Console</title>\n\
         <h1>The console cannot be opened</h1>\n<p>{refusal}</p>\n<p>Code: {}</p>\n</html>\n",
        refusal.code()
    );
    let mut response = whole(refusal.status(), "text/html; charset=utf-8", text.into());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// For pages of other proxies, and for balancers: this one answers.
pub(super) fn alive() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    response
}

pub(super) fn not_found() -> Response<Body> {
    whole(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "nothing is here\n".into())
}

/// To the same folder with its slash, on which the page's relative addresses rely.
pub(super) fn to_folder(path: &str) -> Response<Body> {
    let last = path.rsplit('/').next().unwrap_or_default();
    moved(&format!("{last}/"))
}

/// Elsewhere, for good, by the same method.
pub(super) fn moved(location: &str) -> Response<Body> {
    let mut response =
        whole(StatusCode::PERMANENT_REDIRECT, "text/plain; charset=utf-8", Body::empty());
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

pub(super) fn whole(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Adds what keeps other sites from reading, framing or sniffing an answer.
pub(super) fn protect(names: &Names, headers: &mut HeaderMap) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    if !names.may_be_framed() {
        set(header::X_FRAME_OPTIONS, "DENY");
    }
    headers.entry(RESOURCE_POLICY).or_insert(HeaderValue::from_static("same-origin"));
    if let Some(policy) = names.policy() {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
}
