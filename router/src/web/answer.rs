//! Questions and answers as a site sees them.

use std::fmt;

use bytes::Bytes;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};

/// A request without its body, which no site reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// What is to be done.
    pub(crate) method: &'a Method,
    /// Path as sent, without the query.
    pub(crate) path: &'a str,
    /// All headers.
    pub(crate) headers: &'a HeaderMap,
}

impl Ask<'_> {
    /// The value of header `name` (lower case); none when it is missing, there twice, or not text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value.trim())
    }
}

/// What goes back.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// How it went.
    pub(crate) status: StatusCode,
    /// The content.
    pub(crate) body: Bytes,
    /// Its media type.
    pub(crate) media: &'static str,
    /// A header of the site's own.
    pub(crate) header: Option<(&'static str, String)>,
}

/// How it went, and how long the content is: that may be a password, and the header a token.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut answer = f.debug_struct("Answer");
        answer.field("status", &self.status).field("media", &self.media);
        answer.field("bytes", &self.body.len());
        answer.field("header", &self.header.as_ref().map(|(name, _)| name)).finish()
    }
}

impl Answer {
    /// `body` as text.
    pub(crate) fn text(body: impl Into<Bytes>) -> Self {
        let (status, media) = (StatusCode::OK, "text/plain; charset=utf-8");
        Self { status, body: body.into(), media, header: None }
    }

    /// `body` as it is, whatever that is.
    pub(crate) fn bytes(body: Bytes) -> Self {
        Self { media: "application/octet-stream", ..Self::text(body) }
    }

    /// A refusal, with a line for a person.
    pub(crate) fn refusal(status: StatusCode, reason: &'static str) -> Self {
        Self { status, ..Self::text(Bytes::from_static(reason.as_bytes())) }
    }

    /// There is no such thing.
    pub(crate) fn not_found() -> Self {
        Self::refusal(StatusCode::NOT_FOUND, "not found\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_does_not_show_in_debug_output() {
        let header = Some(("x-token", "s3cret-token".to_owned()));
        let answer = Answer { header, ..Answer::text("s3cret-One") };
        let shown = format!("{answer:?}");
        assert!(shown.contains("bytes: 10") && !shown.contains("s3cret"), "{shown}");
    }
}
