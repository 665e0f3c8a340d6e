//! Answers that the balancer gives itself.

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::ToClient;

/// One such answer.
pub(crate) struct Answer(StatusCode, &'static str);

/// The request's body was cut short or malformed.
pub(crate) const MALFORMED: Answer = Answer(StatusCode::BAD_REQUEST, "The request is malformed.\n");
/// The member ended the connection, or its answer cannot be read.
pub(crate) const NO_ANSWER: Answer =
    Answer(StatusCode::BAD_GATEWAY, "The server gave no valid answer.\n");
/// No member can serve.
pub(crate) const NO_MEMBER: Answer =
    Answer(StatusCode::SERVICE_UNAVAILABLE, "No server is available to handle this request.\n");
/// The member took too long.
pub(crate) const TOO_LATE: Answer =
    Answer(StatusCode::GATEWAY_TIMEOUT, "The server did not answer in time.\n");

impl Answer {
    /// As it is sent.
    pub(crate) fn answer(&self) -> Response<ToClient> {
        let mut answer = Response::new(ToClient::Words(Bytes::from_static(self.1.as_bytes())));
        *answer.status_mut() = self.0;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    }
}
