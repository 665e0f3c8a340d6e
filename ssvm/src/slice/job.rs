//! Jobs.

use serde::{Deserialize, Serialize};
use sluice_api::types::ObjectId;

use super::place::Place;
use super::url::SourceUrl;
use crate::checksum::Checksum;
use crate::image::Format;

/// Something to be done once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The object that it is about.
    pub const fn place(&self) -> &Place {
        match &self.what {
            What::Import { place, .. } | What::Delete { place, .. } => place,
        }
    }
}

/// Kinds of job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        format: Option<Format>,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A web server.
    Url(SourceUrl),
    /// Whoever holds a grant for the job.
    Upload,
}
