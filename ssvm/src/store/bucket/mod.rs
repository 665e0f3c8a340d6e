//! A store that is a bucket of an object store: S3, or `OpenStack` Swift.
//!
//! Guarantees: images are put together on a store in front of it, sent, and read back and compared before their record says
//! that they are there; the record is what makes an object; what was compared may stay in front, by its digest.
//!
//! Keys are `CloudStack`'s: the folder of the object, its name as one more folder, and the file in it.

mod cache;
mod file;
pub(super) mod note;
mod pieces;
mod remote;
mod signed;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reqwest::Client;
use sluice_api::types::ObjectId;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::directory::{DirectoryStore, OURS};
use super::error::StoreError;
use super::manifest::{self, Manifest, is_record};
use super::mark::{self, Known, MARK, Mark, Verdict};
use super::{Opened, Space, Store, Workspace};
use crate::checksum::{Checksum, HashFunction, Hasher};
use crate::disk::File;
use crate::slice::{Place, StoreKind, StoreSlice};
use cache::Cache;
use file::{RemoteFile, State, Stays};
use note::{Note, SUFFIX};
use remote::Remote;

/// Bytes read, sent and compared at once.
const BLOCK: u64 = 1 << 20;

/// One bucket.
pub struct BucketStore {
    slice: StoreSlice,
    remote: Arc<Remote>,
    staging: DirectoryStore,
    cache: Arc<Cache>,
    known: Arc<dyn Known>,
    /// Held while the mark is looked at.
    marking: Mutex<()>,
    /// Held while a snapshot is published or deleted.
    chains: Mutex<()>,
}

impl BucketStore {
    /// The store of `slice` behind `staging`. Touches nothing yet. None: the slice is of another kind.
    pub fn new(
        slice: StoreSlice,
        staging: DirectoryStore,
        known: Arc<dyn Known>,
        client: Client,
    ) -> Option<Self> {
        let StoreKind::Bucket { service, cache_bytes, .. } = slice.kind.clone() else {
            return None;
        };
        let cache = Arc::new(Cache::new(staging.disk(), cache_bytes));
        let (marking, chains) = (Mutex::new(()), Mutex::new(()));
        let remote = Arc::new(Remote::new(service, client));
        Some(Self { slice, remote, staging, cache, known, marking, chains })
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        let store = self.slice.id.clone();
        move |source| StoreError::Io { store, what, source }
    }

    fn not_found(&self, place: &Place) -> StoreError {
        StoreError::NotFound { store: self.slice.id.clone(), place: place.clone() }
    }

    /// Proof that the bucket is the store that was meant.
    fn attached(&self) -> Result<(), StoreError> {
        let _one = self.marking.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.recall(&self.slice.id).map_err(self.failed("its memory"))?;
        let found = wait(self.remote.read(&mark_key())).map_err(self.failed("reading its mark"))?;
        let found: Option<Mark> = match found {
            Some(bytes) => Some(
                serde_json::from_slice(&bytes)
                    .map_err(io::Error::other)
                    .map_err(self.failed("reading its mark"))?,
            ),
            None => None,
        };
        let store = self.slice.id.clone();
        let gone = |reason| StoreError::Gone { store, reason };
        match mark::judge(&self.slice.id, found.as_ref(), known).map_err(gone)? {
            Verdict::Same => Ok(()),
            Verdict::Seen(uuid) => self.remember(uuid),
            Verdict::Fresh if self.slice.read_only => Ok(()),
            Verdict::Fresh => {
                let mark = Mark { store: self.slice.id.clone(), uuid: Uuid::new_v4() };
                let bytes = serde_json::to_vec(&mark).map_err(io::Error::other);
                let written = bytes.and_then(|bytes| wait(self.remote.replace(&mark_key(), bytes)));
                written.map_err(self.failed("marking it"))?;
                self.remember(mark.uuid)
            }
        }
    }

    fn remember(&self, uuid: Uuid) -> Result<(), StoreError> {
        self.known.remember(&self.slice.id, uuid).map_err(self.failed("its memory"))
    }

    fn writable(&self) -> Result<(), StoreError> {
        if self.slice.read_only {
            return Err(StoreError::ReadOnly { store: self.slice.id.clone() });
        }
        self.attached()
    }

    fn canary(&self) -> Result<(), StoreError> {
        let (key, bytes) = (format!("{OURS}/canary-{}", Uuid::new_v4()), Uuid::new_v4());
        let bytes = bytes.to_string().into_bytes();
        wait(self.remote.replace(&key, bytes.clone())).map_err(self.failed("writing to it"))?;
        let read = wait(self.remote.read(&key)).map_err(self.failed("reading it back"))?;
        wait(self.remote.remove(&key)).map_err(self.failed("deleting from it"))?;
        if read == Some(bytes) {
            return Ok(());
        }
        Err(self.failed("reading back what was written")(io::Error::other("it differs")))
    }

    fn record(&self, place: &Place) -> Result<Option<Manifest>, StoreError> {
        let read = wait(self.remote.read(&key(place, &place.manifest())));
        let Some(bytes) = read.map_err(self.failed("reading a record"))? else { return Ok(None) };
        manifest::read(&bytes).map(Some).map_err(|reason| StoreError::Record {
            store: self.slice.id.clone(),
            place: place.clone(),
            reason,
        })
    }

    /// Whether the object of `manifest` is there already, from before a crash.
    fn there_already(&self, manifest: &Manifest) -> Result<bool, StoreError> {
        match self.find(&manifest.place) {
            Ok(found) if found == *manifest => Ok(true),
            Ok(_) => Err(StoreError::Exists {
                store: self.slice.id.clone(),
                place: manifest.place.clone(),
            }),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    fn length(&self, manifest: &Manifest) -> Result<Option<u64>, StoreError> {
        let found = wait(self.remote.length(&data_key(manifest)));
        found.map_err(self.failed("looking at an object"))
    }

    /// Where images stay on the store in front.
    fn stays(&self) -> Result<PathBuf, StoreError> {
        self.staging.own_folder(&format!("cache/{}", self.slice.id))
    }

    /// A snapshot that is the difference to the one at `place`.
    fn child(&self, place: &Place) -> Result<Option<Place>, StoreError> {
        let Place::Snapshot { .. } = place else { return Ok(None) };
        let keys = wait(self.remote.list(&format!("{}/", place.folder())));
        for key in keys.map_err(self.failed("listing a folder"))? {
            if !key.rsplit('/').next().is_some_and(is_record) {
                continue;
            }
            let bytes = wait(self.remote.read(&key)).map_err(self.failed("reading a record"))?;
            let record = manifest::read(&bytes.unwrap_or_default());
            // one that cannot be read may be of a child
            let record = record.map_err(|reason| StoreError::Record {
                store: self.slice.id.clone(),
                place: place.clone(),
                reason: format!("{key}: {reason}"),
            })?;
            if record.parent.as_ref() == Some(place.name()) {
                return Ok(Some(record.place));
            }
        }
        Ok(None)
    }

    /// Sends the file piece by piece, from the one on that the note at `beside` says, and has them joined.
    fn send_all(
        &self,
        file: &dyn File,
        manifest: &Manifest,
        beside: &Path,
        sent: &dyn Fn(u64) -> bool,
    ) -> io::Result<()> {
        let (disk, key) = (self.staging.disk(), data_key(manifest));
        let mut note = self.note(manifest, &key, beside)?;
        // they were joined, and only that was not told any more
        if note.next().is_none() && wait(self.remote.length(&key))? == Some(manifest.size) {
            return Ok(());
        }
        while let Some((at, length)) = note.next() {
            let bytes = piece_of(file, at, length)?;
            let Some(tag) = wait(self.remote.piece(&note, bytes))? else {
                return Err(self.lost(beside));
            };
            note.parts.push(tag);
            note.keep(&*disk, beside)?;
            if !sent(at + length) {
                return Err(stopped());
            }
        }
        if wait(self.remote.join(&note))? { Ok(()) } else { Err(self.lost(beside)) }
    }

    /// What is known of the object on its way, or the beginning of it.
    fn note(&self, manifest: &Manifest, key: &str, beside: &Path) -> io::Result<Note> {
        let disk = self.staging.disk();
        match Note::read(&*disk, beside)? {
            Some(note) if note.is_of(&self.slice.id, key, manifest) => {
                let (pieces, store) = (note.parts.len(), &self.slice.id);
                tracing::info!(%store, key, pieces, "sending goes on behind these pieces");
                return Ok(note);
            }
            Some(other) if other.store == self.slice.id => wait(self.remote.give_up(&other))?,
            _ => {}
        }
        let upload = wait(self.remote.begin(key))?;
        let note = Note::begin(&self.slice.id, key, manifest, upload);
        note.keep(&*disk, beside)?;
        Ok(note)
    }

    /// The server has forgotten what was sent: another attempt begins anew.
    fn lost(&self, beside: &Path) -> io::Error {
        let forgotten = self.staging.disk().remove(beside);
        forgotten.err().unwrap_or_else(|| io::Error::other("the server lost what was sent so far"))
    }

    /// Gives up what is on its way by the note at `beside`, unless it belongs to another store; an object that nobody has a
    /// record of goes with it.
    fn abandon(&self, beside: &Path) -> Result<(), StoreError> {
        let disk = self.staging.disk();
        let note = Note::read(&*disk, beside).map_err(self.failed("reading a note"))?;
        if note.as_ref().is_some_and(|note| note.store != self.slice.id) {
            return Ok(());
        }
        if let Some(note) = note {
            wait(self.remote.give_up(&note)).map_err(self.failed("giving an upload up"))?;
            if self.record(&note.place)?.is_none() {
                wait(self.remote.remove(&note.key)).map_err(self.failed("removing an object"))?;
            }
        }
        disk.remove(beside).map_err(self.failed("removing a note"))
    }

    /// Whether what the bucket has now is what was to be sent.
    fn compare(&self, manifest: &Manifest, go_on: &dyn Fn(u64) -> bool) -> io::Result<bool> {
        let (key, mut hasher) = (data_key(manifest), Hasher::new(HashFunction::Sha256));
        let mut at = 0;
        while at < manifest.size {
            let end = (at + BLOCK).min(manifest.size);
            let piece = wait(self.remote.range(&key, at, end))?.ok_or(io::ErrorKind::NotFound)?;
            if piece.len() as u64 != end - at {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hasher.update(&piece);
            at = end;
            if !go_on(manifest.size) {
                return Err(stopped());
            }
        }
        let found = Checksum::of(HashFunction::Sha256, &hasher.bytes());
        Ok(found.hex() == manifest.sha256)
    }
}

/// Has a call answered on a thread that may wait.
fn wait<T>(call: impl Future<Output = T>) -> T {
    Handle::current().block_on(call)
}

fn mark_key() -> String {
    format!("{OURS}/{MARK}")
}

fn key(place: &Place, file: &str) -> String {
    format!("{}/{}/{file}", place.folder(), place.name())
}

fn data_key(manifest: &Manifest) -> String {
    key(&manifest.place, &manifest.file())
}

fn stopped() -> io::Error {
    io::Error::other("it is no longer wanted")
}

/// A piece of a file.
fn piece_of(file: &dyn File, at: u64, length: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    if file.read_at(at, &mut piece)? < piece.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(piece.into())
}

impl Store for BucketStore {
    fn id(&self) -> &ObjectId {
        &self.slice.id
    }

    fn probe(&self) -> Result<Space, StoreError> {
        self.attached()?;
        if !self.slice.read_only {
            self.canary()?;
        }
        Ok(Space::UNBOUNDED)
    }

    fn workspace(&self) -> Result<Workspace, StoreError> {
        if self.slice.read_only {
            return Err(StoreError::ReadOnly { store: self.slice.id.clone() });
        }
        self.staging.workspace()
    }

    fn remove_parts(&self, keep: &dyn Fn(&str) -> bool) -> Result<(), StoreError> {
        let notes = self.staging.names_of_parts()?;
        for name in notes.iter().filter(|name| name.ends_with(SUFFIX) && !keep(name)) {
            self.abandon(&self.staging.part(name)?)?;
        }
        self.staging.remove_parts(keep)
    }

    fn send(
        &self,
        part: &str,
        manifest: &Manifest,
        sent: &dyn Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        self.writable()?;
        if self.there_already(manifest)? {
            return Ok(());
        }
        let file = self.staging.disk().open(&self.staging.part(part)?);
        let file = file.map_err(self.failed("reading the part"))?;
        let beside = self.staging.part(&note::name(part))?;
        let all = self.send_all(&*file, manifest, &beside, sent);
        all.map_err(self.failed("sending an object"))?;
        let compared = self.compare(manifest, sent);
        // what reads back otherwise is sent anew
        if compared.is_ok() {
            let forgotten = self.staging.disk().remove(&beside);
            forgotten.map_err(self.failed("removing a note"))?;
        }
        if compared.map_err(self.failed("comparing what was sent"))? {
            return Ok(());
        }
        let differs = io::Error::other("what was sent reads back otherwise");
        Err(self.failed("comparing what was sent")(differs))
    }

    fn publish(&self, part: &str, manifest: &Manifest) -> Result<(), StoreError> {
        self.writable()?;
        let _chain = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parent) = manifest.parent_place() {
            self.find(&parent)?;
        }
        if !self.there_already(manifest)? {
            if self.length(manifest)? != Some(manifest.size) {
                let lost = io::Error::other("it is not what was sent");
                return Err(self.failed("looking at an object")(lost));
            }
            let record = serde_json::to_vec_pretty(manifest).map_err(io::Error::other);
            let place = key(&manifest.place, &manifest.place.manifest());
            let written = record.and_then(|record| wait(self.remote.replace(&place, record)));
            written.map_err(self.failed("writing a record"))?;
        }
        let part = self.staging.part(part)?;
        self.stay(&part, manifest);
        Ok(())
    }

    fn find(&self, place: &Place) -> Result<Manifest, StoreError> {
        self.attached()?;
        let manifest = self.record(place)?.ok_or_else(|| self.not_found(place))?;
        match self.length(&manifest)? {
            Some(length) if length == manifest.size => Ok(manifest),
            _ => Err(self.not_found(place)),
        }
    }

    fn open(&self, place: &Place) -> Result<Opened, StoreError> {
        let manifest = self.find(place)?;
        let name = manifest.file();
        let folder = self.stays().ok();
        let (sha256, size) = (manifest.sha256.as_str(), manifest.size);
        let here = folder.as_ref().map(|folder| self.cache.open(folder, sha256, size));
        if let Some(Ok(Some(file))) = here {
            return Ok(Opened { manifest, file, name });
        }
        let stays = folder.filter(|_| self.cache.has_room_for(size)).and_then(|folder| {
            Stays::new(self.staging.disk(), Arc::clone(&self.cache), folder).ok()
        });
        let state = Mutex::new(State::new(sha256, stays));
        let (remote, key) = (Arc::clone(&self.remote), data_key(&manifest));
        let file = Arc::new(RemoteFile { remote, key, size, state });
        Ok(Opened { manifest, file, name })
    }

    fn delete(&self, place: &Place) -> Result<(), StoreError> {
        self.writable()?;
        let _chain = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = self.child(place)? {
            let (store, place) = (self.slice.id.clone(), place.clone());
            return Err(StoreError::HasChild { store, place, child });
        }
        // the record goes last: until then it says what the bytes are of
        let Some(manifest) = self.record(place)? else { return Ok(()) };
        for key in [data_key(&manifest), key(place, &place.manifest())] {
            wait(self.remote.remove(&key)).map_err(self.failed("deleting an object"))?;
        }
        let pieces = wait(self.remote.drop_pieces(&data_key(&manifest)));
        pieces.map_err(self.failed("deleting an object's pieces"))
    }

    fn address(&self, place: &Place, seconds: u32) -> Result<String, StoreError> {
        let manifest = self.find(place)?;
        let address = wait(self.remote.address(&data_key(&manifest), seconds));
        address.map_err(self.failed("making an address"))
    }
}

impl BucketStore {
    /// What was sent may stay in front; that it cannot is no reason to fail.
    fn stay(&self, part: &Path, manifest: &Manifest) {
        let Ok(folder) = self.stays() else { return };
        let taken = self.cache.take_in(&folder, part, &manifest.sha256, manifest.size);
        match taken {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(store = %self.slice.id, %error, "an image does not stay in front");
            }
            _ => {}
        }
    }
}
