//! Another object as a source: read in order, from any byte, however long its store is away.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluice_api::types::ObjectId;
use tokio::time::timeout;

use super::attempt::Trouble;
use super::failure::Failure;
use super::import::{End, Worker, stopped};
use super::stores::Entry;
use crate::checksum::Checksum;
use crate::convert::{self, variant};
use crate::disk::File;
use crate::fetch::Validator;
use crate::image::Format;
use crate::slice::{ImageLayout, Place};
use crate::store::{Opened, Store, StoreError};

/// Bytes read at once.
const BLOCK: u64 = 1 << 20;
/// How long a store has for that.
const PATIENCE: Duration = Duration::from_mins(1);

/// The object that is read.
pub(super) struct Reading {
    store: ObjectId,
    file: Arc<dyn File>,
    size: u64,
    /// What all of it must hash to; none: it is made up of what was compared before.
    sha256: Option<Checksum>,
    mark: String,
    at: u64,
}

impl Reading {
    /// Will read the object at `place` of `store` from byte `at` on, as an image that stands alone and is of the format that
    /// the job asks for.
    pub(super) async fn open(
        worker: &mut Worker,
        store: &ObjectId,
        place: &Place,
        at: u64,
    ) -> Result<Self, Trouble> {
        let wanted = place.clone();
        let entry = entry(worker, store)?;
        let opened = entry.ask(move |store| store.open(&wanted)).await;
        let Opened { manifest, file, .. } = opened.map_err(|error| of_store(&error))?;
        let (asked, layout, keeps_parent) = worker.asked();
        let format = asked.unwrap_or(manifest.format());
        let laid_out = layout.is_none_or(|layout| variant(layout) == manifest.image.variant);
        let becomes_whole = manifest.parent.is_some() && !keeps_parent;
        if format != manifest.format() || !laid_out || becomes_whole {
            if !convert::is_read(manifest.format()) || !convert::is_written(format) {
                let reason = format!("{} is not converted to {format}", manifest.format());
                return Err(not_converted(reason));
            }
            return Self::converted(worker, store, place, at, (format, layout)).await;
        }
        Ok(Self {
            store: store.clone(),
            file,
            size: manifest.size,
            sha256: format!("sha256:{}", manifest.sha256).parse().ok(),
            mark: format!("\"{}\"", manifest.sha256),
            at,
        })
    }

    /// The same laid out as `format`, with what it is the difference to.
    async fn converted(
        worker: &mut Worker,
        store: &ObjectId,
        place: &Place,
        at: u64,
        (format, layout): (Format, Option<ImageLayout>),
    ) -> Result<Self, Trouble> {
        let (id, wanted, stop) = (store.clone(), place.clone(), worker.stop.clone());
        let work = move |store: &dyn Store| {
            let layers = store.layers(&wanted, &|_| !*stop.borrow())?;
            let what = "converting an object";
            let made = convert::view(&layers.files, format, layout)
                .and_then(|file| Ok((file.length()?, file)));
            match made {
                // what an image is does not change by another attempt
                Err(error) if is_final(&error) => Ok((layers.manifest, Err(error.to_string()))),
                Err(source) => Err(StoreError::Io { store: id.clone(), what, source }),
                Ok(made) => Ok((layers.manifest, Ok(made))),
            }
        };
        let entry = entry(worker, store)?;
        let (manifest, made) = tokio::select! {
            made = entry.work("converting an object", work) => made.map_err(|e| of_store(&e))?,
            () = stopped(&mut worker.stop) => return Err(Trouble::End(End::Stopped)),
        };
        let (size, file) = made.map_err(not_converted)?;
        let laid_out = layout.map_or("", variant);
        let mark = format!("\"{}-{format}{laid_out}\"", manifest.sha256);
        Ok(Self { store: store.clone(), file, size, sha256: None, mark, at })
    }

    /// Its length in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// What all of it must hash to.
    pub(super) fn sha256(&self) -> Option<Checksum> {
        self.sha256.clone()
    }

    /// What tells it from another object at the same place.
    pub(super) fn marks(&self) -> Validator {
        Validator { etag: Some(self.mark.clone()), last_modified: None, total: Some(self.size) }
    }

    /// The next bytes; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        let length = (self.size() - self.at.min(self.size())).min(BLOCK);
        if length == 0 {
            return Ok(None);
        }
        let (file, at) = (Arc::clone(&self.file), self.at);
        let read = tokio::task::spawn_blocking(move || block(&*file, at, length));
        let Ok(read) = timeout(PATIENCE, read).await else {
            let (store, seconds) = (self.store.clone(), PATIENCE.as_secs());
            return Err(Trouble::Store(Failure::from(&StoreError::Silent { store, seconds })));
        };
        let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
        let bytes = read.map_err(|source| self.trouble(source))?;
        self.at += length;
        Ok(Some(bytes))
    }
}

impl Reading {
    /// A store that fails may come back; an object that is not what its record says does not.
    fn trouble(&self, source: io::Error) -> Trouble {
        let damaged = source.kind() == io::ErrorKind::InvalidData;
        if damaged && self.sha256.is_none() {
            return not_converted(source.to_string());
        }
        let (store, what) = (self.store.clone(), "reading an object");
        let failure = Failure::from(&StoreError::Io { store, what, source });
        if damaged {
            let code = "checksum".to_owned();
            return Trouble::End(End::Failed(Failure { code, retry: false, ..failure }));
        }
        Trouble::Store(failure)
    }
}

/// Whether no other attempt can help.
fn is_final(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Unsupported)
}

fn not_converted(reason: String) -> Trouble {
    let code = "conversion".to_owned();
    Trouble::End(End::Failed(Failure { code, reason, retry: false }))
}

fn entry(worker: &Worker, store: &ObjectId) -> Result<Arc<Entry>, Trouble> {
    worker.shared.stores.get(store).map_err(|error| of_store(&error))
}

/// A store that is away may come back; what it says of an object stays so.
fn of_store(error: &StoreError) -> Trouble {
    let failure = Failure::from(error);
    if error.worth_a_retry() {
        return Trouble::Store(failure);
    }
    Trouble::End(End::Failed(failure))
}

fn block(file: &dyn File, at: u64, length: u64) -> io::Result<Bytes> {
    let mut block = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    if file.read_at(at, &mut block)? < block.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(block.into())
}
