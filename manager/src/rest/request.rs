//! What comes in: bodies, references, request ids; and the guards against calls in another's name.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::{header, request::Parts};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sluice_api::Finding;
use sluice_api::types::ObjectId;

use super::reply::Refusal;
use crate::code::ErrorCode;
use crate::error::Error;

/// Longest request id, in characters.
const LONGEST_ID: usize = 200;
/// The form of a request id, for the OpenAPI document.
pub(super) const REQUEST_ID: &str = "^[ -~]{1,200}$";
/// The form of an ETag in `If-Match`, for the OpenAPI document.
pub(super) const ETAG: &str = r#"^(\*|"[0-9]{1,18}")$"#;

/// The request id of the header `Idempotency-Key`.
pub(super) struct RequestId(pub(super) Option<String>);

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or("");
        if text.is_empty() || text.len() > LONGEST_ID || text.contains('\t') {
            let reason = format!("must have 1 to {LONGEST_ID} printable characters");
            return Err(Error::Invalid { field: "Idempotency-Key", reason }.into());
        }
        Ok(Self(Some(text.to_owned())))
    }
}

/// The version that the object must have, from the header `If-Match`.
pub(super) struct Version(pub(super) Option<i64>);

impl<S: Sync> FromRequestParts<S> for Version {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let number = number.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let version = number.and_then(|text| text.parse().ok());
        let reason = "must be an ETag as it was answered, or *".to_owned();
        let invalid = || Error::Invalid { field: "If-Match", reason };
        version.map(|version| Self(Some(version))).ok_or_else(|| invalid().into())
    }
}

/// A strictly decoded JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let json = says_json(&request);
        let bytes = bytes(request, state).await?;
        decoded(json, &bytes).map(Self)
    }
}

/// The same of a call that needs none: without a body it is an object without fields.
pub(super) struct OptionalBody(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for OptionalBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let json = says_json(&request);
        let bytes = bytes(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(Value::Object(Map::new())));
        }
        decoded(json, &bytes).map(|fields| Self(Value::Object(fields)))
    }
}

fn says_json(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(is_json)
}

async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Refusal> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == 413 {
            let message = format!("the body has more than {} bytes", sluice_api::MAX_BODY);
            return Refusal::new(ErrorCode::TooLarge, &message, None);
        }
        Refusal::new(ErrorCode::Malformed, "the body broke off", None)
    })
}

fn decoded<T: DeserializeOwned>(json: bool, bytes: &[u8]) -> Result<T, Refusal> {
    if !json {
        let hint = "send the header Content-Type: application/json";
        let message = "the body must be JSON";
        return Err(Refusal::new(ErrorCode::ContentType, message, Some(hint)));
    }
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        // serde would take a list's values for the fields in their order
        let finding = Finding::error("", "invalid-value", "must be an object, not a list");
        return Err(Error::Malformed(vec![finding]).into());
    }
    sluice_api::decode::decode(bytes).map_err(|findings| Error::Malformed(findings).into())
}

/// How many are asked for, `most` at the most.
pub(super) fn at_most(asked: Option<u32>, default: u32, most: u32) -> Result<u32, Error> {
    let limit = asked.unwrap_or(default);
    let reason = || format!("must be 1 to {most}");
    let fits = (1..=most).contains(&limit);
    if fits { Ok(limit) } else { Err(Error::Invalid { field: "limit", reason: reason() }) }
}

/// The object named in the path, by name or id.
pub(super) struct Named(pub(super) ObjectId);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = name.unwrap_or_else(|_| Path(String::new()));
        object(&name).map(Self)
    }
}

/// The object named in the path, and what of it is meant.
pub(super) struct NamedPart(pub(super) ObjectId, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for NamedPart {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let both = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((name, part)) = both.unwrap_or_else(|_| Path((String::new(), String::new())));
        object(&name).map(|name| Self(name, part))
    }
}

fn object(name: &str) -> Result<ObjectId, Refusal> {
    let not_found = |_| {
        let name = name.chars().take(64).collect();
        Refusal::from(Error::NotFound { kind: "object called", name })
    };
    name.parse().map_err(not_found)
}

/// A query string that serde understands; anything else is an error, not ignored.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|query| Self(query.0)).map_err(|rejection| {
            Error::Invalid { field: "query", reason: rejection.body_text() }.into()
        })
    }
}

/// The media type alone decides, in any case and with optional white space before the parameters (RFC 9110, 5.6.6 and
/// 8.3.1).
fn is_json(kind: &str) -> bool {
    let media = kind.split(';').next().unwrap_or_default();
    media.trim_matches([' ', '\t']).eq_ignore_ascii_case("application/json")
}

/// On loopback only local names are served: a foreign name that resolves to us is a web page's trick.
pub(super) async fn guard_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(local) {
        return next.run(request).await;
    }
    let hint = "call it by its address, or as localhost";
    Refusal::new(ErrorCode::Host, "the host is not a local one", Some(hint)).into_response()
}

fn local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_media_type() {
        for kind in [
            "application/json",
            "application/json ; charset=utf-8",
            "Application/JSON;charset=utf-8",
            "application/json\t;",
        ] {
            assert!(is_json(kind), "{kind}");
        }
        for kind in ["", "text/plain", "text/plain;application/json", "application/json-seq"] {
            assert!(!is_json(kind), "{kind}");
        }
    }

    #[test]
    fn only_local_hosts_pass() {
        for host in ["localhost", "localhost:3920", "127.0.0.1:3920", "[::1]:3920"] {
            assert!(local(host), "{host}");
        }
        for host in ["evil.example", "evil.example:3920", "", "localhost.evil.example"] {
            assert!(!local(host), "{host}");
        }
    }
}
