//! What the journal keeps of a job.

use serde::{Deserialize, Serialize};
use sluice_api::Digest;
use sluice_api::types::ObjectId;

use super::failure::Failure;
use crate::fetch::Validator;
use crate::pass::Restart;
use crate::slice::Job;
use crate::store::Manifest;

/// One job's line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its id.
    pub id: ObjectId,
    /// Digest of what is wanted: another one is another job. The job itself is not kept, since its address is a secret.
    pub wanted: Digest,
    /// The store that its parts are on.
    pub store: ObjectId,
    /// How far it is.
    pub state: State,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum State {
    /// Bytes of its source are coming in.
    Fetching {
        /// How many went through, as far as that is durable.
        taken: u64,
        /// Where a zstd source is taken up. None: its bytes are in its part.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restart: Option<Box<Restart>>,
        /// Marks of the state of the source that they are of.
        #[serde(default)]
        marks: Option<Validator>,
    },
    /// Its image is complete in `part` and is given its place.
    Placing {
        /// File name of the part.
        part: String,
        /// What it will be.
        manifest: Box<Manifest>,
    },
    /// It is done.
    Done {
        /// What it made; none for a deletion.
        manifest: Option<Box<Manifest>>,
    },
    /// It cannot be done.
    Failed(Failure),
}

impl State {
    /// Nothing is there yet.
    pub(super) const fn from_start() -> Self {
        Self::Fetching { taken: 0, restart: None, marks: None }
    }
}

impl Record {
    /// A job that is just beginning.
    pub(super) fn begin(job: &Job, wanted: Digest) -> Self {
        let state = State::from_start();
        Self { id: job.id.clone(), wanted, store: job.store().clone(), state }
    }

    /// File name of the part with the source's bytes.
    pub(super) fn source_part(&self) -> String {
        format!("{}.source", self.id)
    }

    /// Whether a file of this name is of the job: a part, or the note of what is on its way to an object store.
    pub(super) fn has(&self, name: &str) -> bool {
        name == self.source_part() || name == self.unpacked_part() || name == self.note()
    }

    fn note(&self) -> String {
        format!("{}.upload", self.id)
    }

    /// File name of the part that they are unpacked to.
    pub(super) fn unpacked_part(&self) -> String {
        format!("{}.unpacked", self.id)
    }
}
