//! Why a store did not do it.

use std::io;

use sluice_api::types::ObjectId;
use thiserror::Error;

use crate::pass::PassError;
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
    /// The file server that is to be at its path is not there, and nobody said yet why: its mount may be under way.
    #[error("store {store} is not at its place: {reason}")]
    NotYet {
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
    /// The folder of the place is another image's: `CloudStack`'s record in it can be of one image alone.
    #[error("the folder of {place} on store {store} is another image's: it has {found}")]
    Occupied {
        /// Its id.
        store: ObjectId,
        /// Where.
        place: Place,
        /// A file in it that is not of this place.
        found: String,
    },
    /// Another object is the difference to it.
    #[error("{child} is the difference to {place} on store {store}; delete that one first")]
    HasChild {
        /// Its id.
        store: ObjectId,
        /// Where.
        place: Place,
        /// The other one.
        child: Place,
    },
    /// What stands at the place is not let in.
    #[error("what stands at {place} on store {store} is not let in")]
    Refused {
        /// Its id.
        store: ObjectId,
        /// Where.
        place: Place,
        /// Why.
        #[source]
        source: Box<PassError>,
    },
    /// Its objects are no files, so nothing can be converted there.
    #[error("objects of store {store} are no files; copy it to a store on files first")]
    NoFiles {
        /// Its id.
        store: ObjectId,
    },
    /// Its bytes are at its place alone.
    #[error("store {store} hands out no addresses of its own")]
    NoAddress {
        /// Its id.
        store: ObjectId,
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
    pub fn worth_a_retry(&self) -> bool {
        match self {
            Self::Refused { source, .. } => source.worth_a_retry(),
            Self::Gone { .. }
            | Self::NotYet { .. }
            | Self::Silent { .. }
            | Self::Full { .. }
            | Self::Io { .. } => true,
            Self::Unknown { .. }
            | Self::ReadOnly { .. }
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Occupied { .. }
            | Self::HasChild { .. }
            | Self::NoAddress { .. }
            | Self::NoFiles { .. }
            | Self::Record { .. } => false,
        }
    }

    /// Stable name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "store-unknown",
            Self::Gone { .. } | Self::NotYet { .. } => "store-gone",
            Self::Silent { .. } => "store-silent",
            Self::ReadOnly { .. } => "store-read-only",
            Self::Full { .. } => "store-full",
            Self::NotFound { .. } => "object-not-found",
            Self::Exists { .. } => "object-exists",
            Self::Occupied { .. } => "folder-occupied",
            Self::HasChild { .. } => "object-has-child",
            Self::NoAddress { .. } => "store-no-address",
            Self::NoFiles { .. } => "store-no-files",
            Self::Refused { .. } => "object-refused",
            Self::Record { .. } => "object-record",
            Self::Io { .. } => "store-io",
        }
    }
}
