//! Answers: JSON objects, or problems with code, message, field and hint.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::code::ErrorCode;
use crate::error::{Error, Problem};
use crate::ops::Outcome;

/// What handlers return.
pub(super) type Reply = Result<Response, Refusal>;

/// A problem on its way out.
#[derive(Debug)]
pub struct Refusal {
    status: u16,
    problem: Problem,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: &str, hint: Option<&str>) -> Self {
        let problem = Problem {
            code: code.word().to_owned(),
            message: message.to_owned(),
            field: None,
            hint: hint.map(str::to_owned),
            findings: Vec::new(),
        };
        Self { status: code.status(), problem }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, problem) = (error.status(), error.problem());
        if status == 500 {
            tracing::error!(error = crate::push::chain(&error), "request failed");
        }
        Self { status, problem }
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (code(self.status), Json(self.problem)).into_response()
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The outcome of a change, whose body is JSON text already.
pub(super) fn stored(outcome: Outcome) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (code(outcome.status), kind, outcome.body).into_response()
}

/// An object.
pub(super) fn shown<T: Serialize>(object: &T) -> Response {
    Json(object).into_response()
}

/// An object with its version, which `If-Match` of a change may name.
pub(super) fn versioned(mut response: Response, version: i64) -> Response {
    if let Ok(tag) = format!("\"{version}\"").parse() {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// It is done, and there is nothing to say.
pub(super) fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

pub(super) async fn no_route() -> Refusal {
    let hint = "GET /v1/openapi.json lists them";
    Refusal::new(ErrorCode::NotFound, "there is no such route", Some(hint))
}

pub(super) async fn no_method() -> Refusal {
    let hint = "GET /v1/openapi.json lists them";
    Refusal::new(ErrorCode::Method, "the route does not have that method", Some(hint))
}
