//! Questions and answers as a site sees them.

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
