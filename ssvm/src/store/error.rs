//! Why a store did not do it.

use std::io;

use sluice_api::types::ObjectId;
use thiserror::Error;

use crate::slice::Place;

/// A store did not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The configuration has no such store.
    #[error("there is no store {store}")]
    Unknown {
        /// Its id.
        store: ObjectId,
    },
    /// What is at its path is not it: nothing is mounted there, or something else.
    #[error("store {store} is not at its place: {reason}")]
    Gone {
        /// Its id.
        store: ObjectId,
        /// What was found instead.
        reason: String,
    },
    /// It does not answer.
    #[error("store {store} did not answer within {seconds} s")]
    Silent {
        /// Its id.
        store: ObjectId,
        /// How long it had.
        seconds: u64,
    },
    /// It may only be read.
    #[error("store {store} is read-only")]
    ReadOnly {
        /// Its id.
        store: ObjectId,
    },
    /// It is too full for another object.
    #[error("store {store} is more than {percent} % full")]
    Full {
        /// Its id.
        store: ObjectId,
        /// The threshold.
        percent: u8,
    },
    /// No such object.
    #[error("there is no object {place} on store {store}")]
    NotFound {
        /// Its id.
        store: ObjectId,
        /// Where.
        place: Place,
    },
    /// Another object is at the place.
    #[error("another object is already at {place} on store {store}")]
    Exists {
        /// Its id.
        store: ObjectId,
        /// Where.
        place: Place,
    },
    /// The record of an object cannot be read.
    #[error("the record of {place} on store {store} cannot be read: {reason}")]
    Record {
        /// Its id.
        store: ObjectId,
        /// Where.
        place: Place,
        /// Why.
        reason: String,
    },
    /// An operation failed.
    #[error("store {store}: {what} failed")]
    Io {
        /// Its id.
        store: ObjectId,
        /// What was done.
        what: &'static str,
        /// How it failed.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// Whether the same may succeed later.
    pub const fn worth_a_retry(&self) -> bool {
        match self {
            Self::Gone { .. } | Self::Silent { .. } | Self::Full { .. } | Self::Io { .. } => true,
            Self::Unknown { .. }
            | Self::ReadOnly { .. }
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Record { .. } => false,
        }
    }

    /// Stable name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "store-unknown",
            Self::Gone { .. } => "store-gone",
            Self::Silent { .. } => "store-silent",
            Self::ReadOnly { .. } => "store-read-only",
            Self::Full { .. } => "store-full",
            Self::NotFound { .. } => "object-not-found",
            Self::Exists { .. } => "object-exists",
            Self::Record { .. } => "object-record",
            Self::Io { .. } => "store-io",
        }
    }
}
