//! Why a pass did not end well.

use std::io;

use thiserror::Error;

use crate::checksum::Checksum;
use crate::image::{Judgement, Refusal};
use crate::unpack::UnpackError;

/// An image did not get through.
#[derive(Debug, Error)]
pub enum PassError {
    /// It is not let in.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Its bytes are not those that were meant.
    #[error("the checksum is {found}, not {wanted}")]
    Checksum {
        /// The one given.
        wanted: Checksum,
        /// The one found.
        found: Checksum,
    },
    /// It became larger than allowed, as fetched or unpacked.
    #[error("the image has more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The store failed.
    #[error("{what} failed")]
    Disk {
        /// What was done.
        what: &'static str,
        /// How it failed.
        #[source]
        source: io::Error,
    },
    /// What was kept of it for a restart is of no use.
    #[error("what was kept of the transfer cannot be used")]
    Lost,
    /// Whoever fed it went away.
    #[error("the transfer was abandoned")]
    Abandoned,
}

impl PassError {
    /// For `map_err`: `what` failed.
    pub fn disk(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { what, source }
    }

    /// Whether the same bytes may get through later.
    pub const fn worth_a_retry(&self) -> bool {
        matches!(self, Self::Disk { .. } | Self::Lost | Self::Abandoned)
    }

    /// Stable name for programs.
    pub fn code(&self) -> String {
        let name = match self {
            // the codes of refusals are written as serde writes them
            Self::Refused(refusal) => return kebab(refusal),
            Self::Unpack(UnpackError::Memory { .. }) => "unpack-memory",
            Self::Unpack(_) => "unpack",
            Self::Checksum { .. } => "checksum",
            Self::TooLarge { .. } => "too-large",
            Self::Disk { .. } => "store-io",
            Self::Lost => "lost",
            Self::Abandoned => "abandoned",
        };
        name.to_owned()
    }
}

fn kebab(refusal: &Refusal) -> String {
    let value = serde_json::to_value(refusal.code).unwrap_or_default();
    value.as_str().unwrap_or("refused").to_owned()
}

impl From<Judgement> for PassError {
    fn from(judgement: Judgement) -> Self {
        match judgement {
            Judgement::Refused(refusal) => refusal.into(),
            Judgement::Io(source) => Self::Disk { what: "reading the image", source },
            // a complete image leaves nothing to wait for
            Judgement::NotYet => Self::Abandoned,
        }
    }
}
