//! Answers as HTTP: the status follows from what the answer says.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sluice_api::Finding;
use sluice_api::report::{Answer, ConfirmAnswer, Health};

/// `value` as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        // the contract's types always encode
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A refusal with its findings.
pub(super) fn rejected(status: StatusCode, findings: Vec<Finding>) -> Response {
    json(status, &Answer::Rejected { findings })
}

/// The answer to a push.
pub(super) fn answer(answer: &Answer) -> Response {
    let status = match answer {
        Answer::Applied { .. } | Answer::Already { .. } => StatusCode::OK,
        Answer::Stale { .. } | Answer::Changed { .. } | Answer::MissingBlobs { .. } => {
            StatusCode::CONFLICT
        }
        Answer::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
        Answer::Rejected { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Answer::Failed { .. } | Answer::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = json(status, answer);
    if matches!(answer, Answer::Busy(_)) {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

/// The answer to a confirmation.
pub(super) fn confirmed(answer: &ConfirmAnswer) -> Response {
    let status = match answer {
        ConfirmAnswer::Committed { .. } => StatusCode::OK,
        ConfirmAnswer::NotPending { .. } => StatusCode::CONFLICT,
        ConfirmAnswer::Failed { .. } | ConfirmAnswer::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    };
    json(status, answer)
}

/// The answer to a question about health.
pub(super) fn health(health: &Health) -> Response {
    let status = if health.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, health)
}
