//! Answers that say no, and what every answer has.

use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

/// A refusal: status, stable name, reason.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    code: String,
    reason: String,
}

impl Answer {
    pub(super) fn new(status: u16, code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { status, code: code.into(), reason: reason.into() }
    }

    /// The same for what never was and for what is not yours.
    pub(super) fn nothing_here() -> Self {
        Self::new(404, "nothing-here", "there is nothing here")
    }

    #[cfg(test)]
    pub(super) const fn status(&self) -> u16 {
        self.status
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        // 460 of the tus protocol is no registered status, but it is a valid one
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(json!({ "code": self.code, "reason": self.reason }))).into_response()
    }
}

/// Nothing from elsewhere is loaded or may frame a page; what is downloaded is never guessed to be a page; an address with
/// a token in it goes to nobody.
pub(super) async fn harden(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
        form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
