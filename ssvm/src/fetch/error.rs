//! What can go wrong with a source, and whether trying again can help.

use std::time::Duration;

use thiserror::Error;

use super::policy::AddressRefused;

/// A source could not be fetched. No text has an address's query in it.
#[derive(Debug, Error)]
pub enum FetchError {
    /// Its address is not fetched from.
    #[error(transparent)]
    Address(#[from] AddressRefused),
    /// Its port is not fetched from.
    #[error("port {port} is not fetched from")]
    Port {
        /// The port.
        port: u16,
    },
    /// The server sent us somewhere that is not followed.
    #[error("redirect not followed: {reason}")]
    Redirect {
        /// Why.
        reason: String,
    },
    /// The server answered that it will not.
    #[error("the server answered {status}")]
    Status {
        /// The HTTP status code.
        status: u16,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// No connection, or it broke.
    #[error("{what}")]
    Broken {
        /// What was being done, and what happened.
        what: String,
    },
    /// The source ended before the length that the server had announced.
    #[error("the source ended after {got} of {announced} bytes")]
    CutOff {
        /// Bytes that came.
        got: u64,
        /// Bytes that were to come.
        announced: u64,
    },
    /// What is fetched now is not what was fetched before.
    #[error("the source changed while it was fetched")]
    Changed,
    /// It is larger than allowed.
    #[error("the source has {size} bytes, limit {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The server breaks HTTP.
    #[error("the server's answer makes no sense: {what}")]
    Protocol {
        /// How.
        what: &'static str,
    },
}

impl FetchError {
    /// Whether the same request may succeed later.
    pub const fn worth_a_retry(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Broken { .. } | Self::CutOff { .. } | Self::Changed | Self::Protocol { .. } => {
                true
            }
            Self::Address(_)
            | Self::Port { .. }
            | Self::Redirect { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    /// When the server wants to be asked again.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Stable name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address(_) | Self::Port { .. } => "address-refused",
            Self::Redirect { .. } => "redirect-refused",
            Self::Status { .. } => "source-status",
            Self::Broken { .. } => "source-broken",
            Self::CutOff { .. } => "source-cut-off",
            Self::Changed => "source-changed",
            Self::TooLarge { .. } => "too-large",
            Self::Protocol { .. } => "source-protocol",
        }
    }
}
