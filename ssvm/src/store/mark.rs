//! The mark that a store carries, by which it is known again.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sluice_api::types::ObjectId;
use uuid::Uuid;

use crate::disk::Disk;

/// Name of the mark in [`super::directory::OURS`].
pub(super) const MARK: &str = "store.json";

/// What is written on a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) store: ObjectId,
    pub(super) uuid: Uuid,
}

/// Which stores were seen before, kept beside the job journal: a store that once had a mark is never marked again.
pub trait Known: Send + Sync {
    /// The mark that `store` had.
    fn recall(&self, store: &ObjectId) -> std::io::Result<Option<Uuid>>;

    /// Keeps it.
    fn remember(&self, store: &ObjectId, mark: Uuid) -> std::io::Result<()>;
}

/// What a mark says of the store that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the one that was meant.
    Same,
    /// It is, and was not seen before: its mark is to be remembered.
    Seen(Uuid),
    /// It was never marked.
    Fresh,
}

/// Whether the store with the mark `found` is `store`, whose mark was `known`; else why it is not.
pub(super) fn judge(
    store: &ObjectId,
    found: Option<&Mark>,
    known: Option<Uuid>,
) -> Result<Verdict, String> {
    match (found, known) {
        (Some(mark), _) if mark.store != *store => {
            Err(format!("it is marked as store {}", mark.store))
        }
        (Some(mark), Some(known)) if mark.uuid != known => {
            Err("it has the mark of another store with the same id".to_owned())
        }
        (Some(_), Some(_)) => Ok(Verdict::Same),
        (Some(mark), None) => Ok(Verdict::Seen(mark.uuid)),
        (None, Some(_)) => Err("it no longer has its mark; is it mounted?".to_owned()),
        (None, None) => Ok(Verdict::Fresh),
    }
}

/// The mark in `folder`; none when there is none.
pub(super) fn read(disk: &dyn Disk, folder: &Path) -> std::io::Result<Option<Mark>> {
    let Some(bytes) = disk.read(&folder.join(MARK))? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(std::io::Error::other)
}

/// Marks the store.
pub(super) fn write(disk: &dyn Disk, folder: &Path, mark: &Mark) -> std::io::Result<()> {
    disk.make_directory(folder)?;
    let bytes = serde_json::to_vec_pretty(mark)?;
    disk.replace(&folder.join(MARK), &bytes)
}
