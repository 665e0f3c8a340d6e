//! Our record of an object, beside it on the store.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sluice_api::types::ObjectId;

use crate::checksum::Checksum;
use crate::image::{Format, Inspection};
use crate::pass::Standing;
use crate::slice::Place;
use crate::unpack::Compression;

/// What is known of an object. Written once, when the object is complete; read tolerantly, since a newer release may have
/// written it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub image: Inspection,
    /// Its length on the store, in bytes, holes included.
    pub size: u64,
    /// Digest of its bytes, lower-case hexadecimal: its identity.
    pub sha256: String,
    /// The same, SHA-512.
    pub sha512: String,
    /// Where it came from.
    pub origin: Origin,
    /// When it was complete, in seconds since 1970-01-01 UTC.
    pub made: u64,
    /// Of a snapshot: the one of the same volume that it is the difference to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ObjectId>,
}

/// Where an object came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The job that brought it in.
    pub job: ObjectId,
    /// The address without its query, or `upload`.
    pub from: String,
    /// Bytes as fetched, before unpacking.
    pub size: u64,
    /// Digest of those, by the function that a checksum was given in, else SHA-256.
    pub digest: Checksum,
    /// How they were compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

impl Manifest {
    /// The record of what stood at its place before.
    pub(super) fn of_standing(place: &Place, job: &ObjectId, standing: Standing) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let Standing { image, size, sha256, sha512, digest } = standing;
        let from = "in place".to_owned();
        Self {
            place: place.clone(),
            image,
            size,
            sha256,
            sha512,
            origin: Origin { job: job.clone(), from, size, digest, compression: None },
            made: now.as_secs(),
            parent: None,
        }
    }

    /// The object's format.
    pub const fn format(&self) -> Format {
        self.image.format
    }

    /// Where its parent stands.
    pub fn parent_place(&self) -> Option<Place> {
        self.place.sibling(self.parent.as_ref()?)
    }

    /// Its file's name.
    pub fn file(&self) -> String {
        self.place.file(self.format())
    }
}

/// Reads a record; else why it is none.
pub(super) fn read(bytes: &[u8]) -> Result<Manifest, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Whether a file of this name is a record.
pub(super) fn is_record(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".sluice.json")
}
