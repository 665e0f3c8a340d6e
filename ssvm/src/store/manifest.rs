//! Our record of an object, beside it on the store.

use serde::{Deserialize, Serialize};
use sluice_api::types::ObjectId;

use crate::checksum::Checksum;
use crate::image::{Format, Inspection};
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
    /// The object's format.
    pub const fn format(&self) -> Format {
        self.image.format
    }

    /// Its file's name.
    pub fn file(&self) -> String {
        self.place.file(self.format())
    }
}
