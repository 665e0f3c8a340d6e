//! The durable memory of the service: one small file for each job and each store seen, on the appliance's data partition.
//!
//! Guarantees: a record is the old or the new one, whole, after a power cut at any point. One that cannot be read is not
//! taken for "never heard of it": it is set aside under another name, said aloud, and its job begins anew.

use std::io;
use std::path::{Path, PathBuf};

use sluice_api::types::ObjectId;
use sluice_sys::files;
use thiserror::Error;
use uuid::Uuid;

use super::record::Record;
use crate::store::Known;

/// The journal failed.
#[derive(Debug, Error)]
#[error("the journal: {what} failed")]
pub struct JournalError {
    /// What was done.
    pub what: &'static str,
    /// How it failed.
    #[source]
    pub source: io::Error,
}

/// The memory.
#[derive(Debug)]
pub struct Journal {
    jobs: PathBuf,
    stores: PathBuf,
}

impl Journal {
    /// The journal in `folder`, made if needed.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let journal = Self { jobs: folder.join("jobs"), stores: folder.join("stores") };
        for folder in [&journal.jobs, &journal.stores] {
            std::fs::create_dir_all(folder).map_err(failed("making its folder"))?;
        }
        // their names are durable before anything is written into them
        let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed("making its folder"))?;
        Ok(journal)
    }

    /// Every record that can be read; the others are set aside.
    pub fn load(&self) -> Result<Vec<Record>, JournalError> {
        let entries = std::fs::read_dir(&self.jobs).map_err(failed("listing its jobs"))?;
        let mut records = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed("listing its jobs"))?.file_name();
            let Some(name) = name.to_str().filter(|name| is_record(name)) else { continue };
            match self.read(name)? {
                Some(record) if name == file_name(&record.id) => records.push(record),
                _ => {}
            }
        }
        records.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(records)
    }

    /// Keeps `record`; when this returns, a power cut does not undo it.
    pub fn keep(&self, record: &Record) -> Result<(), JournalError> {
        let bytes = serde_json::to_vec(record).map_err(io::Error::other);
        let bytes = bytes.map_err(failed("writing a job"))?;
        files::replace(&self.jobs, &file_name(&record.id), &bytes).map_err(failed("writing a job"))
    }

    /// Forgets a job.
    pub fn forget(&self, id: &ObjectId) -> Result<(), JournalError> {
        match std::fs::remove_file(self.jobs.join(file_name(id))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("forgetting a job")(error))
            }
            _ => Ok(()),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Record>, JournalError> {
        let bytes = files::read(&self.jobs, name).map_err(failed("reading a job"))?;
        let Some(bytes) = bytes else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                tracing::error!(file = name, %error, "a record of the journal is unreadable, set aside");
                let aside = self.jobs.join(format!("{name}.unreadable"));
                std::fs::rename(self.jobs.join(name), aside)
                    .map_err(failed("setting a record aside"))?;
                Ok(None)
            }
        }
    }
}

impl Known for Journal {
    fn recall(&self, store: &ObjectId) -> io::Result<Option<Uuid>> {
        let bytes = files::read(&self.stores, &file_name(store))?;
        // an unreadable memory is an error: taken for none, it would let an empty mount point be marked
        Ok(bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn remember(&self, store: &ObjectId, mark: Uuid) -> io::Result<()> {
        files::replace(&self.stores, &file_name(store), &serde_json::to_vec(&mark)?)
    }
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError { what, source }
}

fn file_name(id: &ObjectId) -> String {
    format!("{id}.json")
}

/// Not one that was being written, nor one set aside.
fn is_record(name: &str) -> bool {
    !name.starts_with('.') && name.strip_suffix(".json").is_some()
}
