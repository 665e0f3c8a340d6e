//! Why a browser is not let in: one code for programs, one sentence for people, one status for HTTP.

use axum::http::StatusCode;

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No grant has this token.
    #[error("This link is not known here. Ask for a new one.")]
    Unknown,
    /// The grant was taken away.
    #[error("This link was revoked. Ask for a new one if you still need the console.")]
    Revoked,
    /// Its time is over.
    #[error("This link has expired. Ask for a new one.")]
    Expired,
    /// Another browser uses it.
    #[error("This link is in use by another browser, and good for that one alone.")]
    OtherBrowser,
    /// It is for other networks.
    #[error("This link cannot be used from your address.")]
    Address,
    /// Its link leads to another proxy.
    #[error("This link leads to another console proxy.")]
    Elsewhere,
    /// The browser has no cookie of this grant, so the link must be opened again.
    #[error("This browser has not opened the link yet, or takes no cookies. Open the link again.")]
    NoCookie,
    /// Another site wanted to open a session.
    #[error("The page that asked is not one of this console's.")]
    Origin,
    /// The host name is not the console's.
    #[error("The console is not served under this name.")]
    Host,
    /// Too many sessions of this grant.
    #[error("This link is open too many times already. Close another window of it.")]
    GrantFull,
    /// Too many sessions in all.
    #[error("This console proxy is full. Try again in a moment.")]
    Full,
    /// It is about to stop.
    #[error("This console proxy takes no new sessions. Try again in a moment.")]
    Draining,
    /// Too many wrong links from this address.
    #[error("Too many wrong links from your address. Try again in a minute.")]
    TooManyTries,
    /// The request is not one of the page's.
    #[error("The request cannot be understood.")]
    Malformed,
}

impl Refusal {
    /// The code of it, for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::OtherBrowser => "other-browser",
            Self::Address => "address",
            Self::Elsewhere => "elsewhere",
            Self::NoCookie => "no-cookie",
            Self::Origin => "origin",
            Self::Host => "host",
            Self::GrantFull => "grant-full",
            Self::Full => "full",
            Self::Draining => "draining",
            Self::TooManyTries => "too-many-tries",
            Self::Malformed => "malformed",
        }
    }

    /// Its HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Revoked | Self::Expired => StatusCode::GONE,
            Self::NoCookie => StatusCode::UNAUTHORIZED,
            Self::OtherBrowser | Self::Address | Self::Origin => StatusCode::FORBIDDEN,
            Self::Host | Self::Elsewhere => StatusCode::MISDIRECTED_REQUEST,
            Self::GrantFull => StatusCode::CONFLICT,
            Self::Full | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyTries => StatusCode::TOO_MANY_REQUESTS,
            Self::Malformed => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether the page should try again by itself.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Full | Self::Draining | Self::GrantFull | Self::TooManyTries)
    }
}
