//! Jobs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::place::Place;
use crate::types::{BlobDigest, Checksum, ImageFormat, ObjectId, SourceUrl};

/// Something to be done once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its id. The same id with another content is another job: the one before is ended.
    pub id: ObjectId,
    /// What.
    pub what: What,
}

impl Job {
    /// The store that it is about.
    pub const fn store(&self) -> &ObjectId {
        match &self.what {
            What::Import { store, .. } | What::Delete { store, .. } => store,
        }
    }

    /// The blob that it names.
    pub const fn blob(&self) -> Option<BlobDigest> {
        match &self.what {
            What::Import { source: Source::SecretUrl(digest), .. } => Some(*digest),
            What::Import { .. } | What::Delete { .. } => None,
        }
    }

    /// The object that it is about.
    pub const fn place(&self) -> &Place {
        match &self.what {
            What::Import { place, .. } | What::Delete { place, .. } => place,
        }
    }
}

/// Kinds of job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// Bring an image in.
    Import {
        /// From where.
        source: Source,
        /// The store that it goes to.
        store: ObjectId,
        /// Where it stands there.
        place: Place,
        /// What it must be, by its bytes. Default: any of the formats let in.
        #[serde(default)]
        format: Option<ImageFormat>,
        /// What the bytes as fetched, before unpacking, must hash to. Default: not compared.
        #[serde(default)]
        checksum: Option<Checksum>,
    },
    /// Remove an object and everything that belongs to it.
    Delete {
        /// The store that it is on.
        store: ObjectId,
        /// Where.
        place: Place,
    },
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A web server. The address stands in the configuration; one with a secret in it, such as a signature, is better in a
    /// blob.
    Url(SourceUrl),
    /// The same, the address being the text of a blob.
    SecretUrl(BlobDigest),
    /// Whoever holds a grant for the job.
    Upload,
}
