//! A store that is a directory: the file system of a machine, or a mounted file server.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sluice_api::types::ObjectId;
use uuid::Uuid;

use super::beside::Beside;
use super::bucket::note::SUFFIX;
use super::error::StoreError;
use super::manifest::{self, Manifest, is_record};
use super::mark::{self, Known, Mark, Verdict};
use super::{Layers, Opened, Space, Store, Workspace, properties};
use crate::convert::{Layer, MOST_LAYERS};
use crate::disk::{Disk, File};
use crate::image::{Format, Refusal, RefusalCode, Wanted};
use crate::pass::{Terms, judge};
use crate::slice::{Place, StoreKind, StoreSlice};

/// What is ours on a store and no object.
pub(super) const OURS: &str = ".sluice";
const PARTS: &str = "parts";

/// The file beside a mount point that says why it could not be mounted.
pub(crate) fn mount_failure(point: &Path) -> Option<PathBuf> {
    let name = point.file_name()?.to_str()?;
    Some(point.with_file_name(format!(".{name}.failure")))
}

/// One directory.
pub struct DirectoryStore {
    slice: StoreSlice,
    root: PathBuf,
    filesystem: Option<u32>,
    disk: Arc<dyn Disk>,
    known: Arc<dyn Known>,
    owner: ObjectId,
    /// Held while the mark is looked at: a store that is seen for the first time is marked once.
    marking: Mutex<()>,
    /// Held while a snapshot is published or deleted: a parent does not go while its child comes.
    chains: Mutex<()>,
}

impl DirectoryStore {
    /// The store of `slice` on `disk`; `known` tells which stores were seen before, `owner` whose parts are ours. Touches
    /// nothing yet. None: the slice is of another kind.
    pub fn new(
        slice: StoreSlice,
        disk: Arc<dyn Disk>,
        known: Arc<dyn Known>,
        owner: ObjectId,
    ) -> Option<Self> {
        let StoreKind::Directory { path, filesystem } = slice.kind.clone() else { return None };
        let (marking, chains) = (Mutex::new(()), Mutex::new(()));
        Some(Self { slice, root: path, filesystem, disk, known, owner, marking, chains })
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        let store = self.slice.id.clone();
        move |source| StoreError::Io { store, what, source }
    }

    fn gone(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Gone { store: self.slice.id.clone(), reason: reason.into() }
    }

    /// Our own folder on the store, after proof that it is the store.
    fn attached(&self) -> Result<PathBuf, StoreError> {
        let ours = self.root.join(OURS);
        self.right_filesystem()?;
        let _one = self.marking.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.recall(&self.slice.id).map_err(self.failed("its memory"))?;
        let found = mark::read(&*self.disk, &ours).map_err(self.failed("reading its mark"))?;
        match mark::judge(&self.slice.id, found.as_ref(), known).map_err(|r| self.gone(r))? {
            Verdict::Same => Ok(ours),
            Verdict::Seen(uuid) => self.remember(uuid).map(|()| ours),
            Verdict::Fresh => self.begin(ours),
        }
    }

    fn right_filesystem(&self) -> Result<(), StoreError> {
        let state = match self.disk.state(&self.root) {
            Ok(state) => state,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.unmounted("its directory does not exist".to_owned()));
            }
            Err(error) => return Err(self.failed("looking at its file system")(error)),
        };
        match self.filesystem {
            Some(wanted) if u64::from(wanted) != state.kind => {
                let (kind, path) = (state.kind, self.root.display());
                let found = format!("{path} is a file system of type {kind:#x}, not {wanted:#x}");
                Err(self.unmounted(found))
            }
            _ => Ok(()),
        }
    }

    /// What was found in place of the store; of a file server with what whoever mounts it said last.
    fn unmounted(&self, found: String) -> StoreError {
        if self.filesystem.is_none() {
            return self.gone(found);
        }
        let said = mount_failure(&self.root).and_then(|path| self.disk.read(&path).ok()?);
        match said {
            Some(said) => {
                self.gone(format!("not mounted: {}; {found}", String::from_utf8_lossy(&said)))
            }
            None => StoreError::NotYet { store: self.slice.id.clone(), reason: found },
        }
    }

    /// Marks a store that is seen for the first time. What is on it already, for instance CloudStack's, stays.
    fn begin(&self, ours: PathBuf) -> Result<PathBuf, StoreError> {
        if self.slice.read_only {
            // nothing can be marked, so nothing is remembered either
            return Ok(ours);
        }
        let mark = Mark { store: self.slice.id.clone(), uuid: Uuid::new_v4() };
        mark::write(&*self.disk, &ours, &mark).map_err(self.failed("marking it"))?;
        self.remember(mark.uuid)?;
        Ok(ours)
    }

    fn remember(&self, uuid: Uuid) -> Result<(), StoreError> {
        self.known.remember(&self.slice.id, uuid).map_err(self.failed("its memory"))
    }

    fn writable(&self) -> Result<PathBuf, StoreError> {
        if self.slice.read_only {
            return Err(StoreError::ReadOnly { store: self.slice.id.clone() });
        }
        self.attached()
    }

    fn space(&self) -> Result<Space, StoreError> {
        let state = self.disk.state(&self.root).map_err(self.failed("asking for its room"))?;
        Ok(Space { size: state.size, free: state.free })
    }

    fn canary(&self, ours: &Path) -> Result<(), StoreError> {
        let path = ours.join(format!("canary-{}", Uuid::new_v4()));
        let bytes = Uuid::new_v4().to_string();
        self.disk.replace(&path, bytes.as_bytes()).map_err(self.failed("writing to it"))?;
        let read = self.disk.read(&path).map_err(self.failed("reading it back"))?;
        self.disk.remove(&path).map_err(self.failed("deleting from it"))?;
        if read.as_deref() == Some(bytes.as_bytes()) {
            Ok(())
        } else {
            Err(self.failed("reading back what was written")(io::Error::other("it differs")))
        }
    }

    fn parts(&self, ours: &Path) -> PathBuf {
        ours.join(PARTS).join(self.owner.as_str())
    }

    fn folder(&self, place: &Place) -> PathBuf {
        self.root.join(place.folder())
    }

    /// The record of an object, ours or, for what CloudStack put there, made up from its file.
    fn record(&self, place: &Place) -> Result<Option<Manifest>, StoreError> {
        let path = self.folder(place).join(place.manifest());
        let bytes = self.disk.read(&path).map_err(self.failed("reading a record"))?;
        let Some(bytes) = bytes else { return Ok(None) };
        manifest::read(&bytes).map(Some).map_err(|reason| StoreError::Record {
            store: self.slice.id.clone(),
            place: place.clone(),
            reason,
        })
    }

    /// Names of the files that an object at `place` may have.
    fn files(&self, place: &Place) -> Result<Vec<String>, StoreError> {
        let there = self.disk.list(&self.folder(place)).map_err(self.failed("listing a folder"))?;
        let names: Vec<String> = Format::ALL.into_iter().map(|f| place.file(f)).collect();
        Ok(there.into_iter().filter(|name| names.contains(name)).collect())
    }

    fn not_found(&self, place: &Place) -> StoreError {
        StoreError::NotFound { store: self.slice.id.clone(), place: place.clone() }
    }

    /// A folder of our own on the store for another purpose than parts; made if needed.
    pub(super) fn own_folder(&self, name: &str) -> Result<PathBuf, StoreError> {
        let folder = self.writable()?.join(name);
        self.disk.make_directory(&folder).map_err(self.failed("making a folder"))?;
        Ok(folder)
    }

    /// The file system that it is on.
    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    /// Where the part `name` is.
    pub(super) fn part(&self, name: &str) -> Result<PathBuf, StoreError> {
        Ok(self.parts(&self.writable()?).join(name))
    }

    /// Names of all parts of ours.
    pub(super) fn names_of_parts(&self) -> Result<Vec<String>, StoreError> {
        let folder = self.parts(&self.writable()?);
        self.disk.list(&folder).map_err(self.failed("listing its workspace"))
    }

    /// A snapshot that is the difference to the one at `place`.
    fn child(&self, place: &Place) -> Result<Option<Place>, StoreError> {
        let Place::Snapshot { .. } = place else { return Ok(None) };
        let folder = self.folder(place);
        let names = self.disk.list(&folder).map_err(self.failed("listing a folder"))?;
        for name in names.iter().filter(|name| is_record(name)) {
            let bytes = self.disk.read(&folder.join(name));
            let bytes = bytes.map_err(self.failed("reading a record"))?.unwrap_or_default();
            // one that cannot be read may be of a child
            let record = manifest::read(&bytes).map_err(|reason| StoreError::Record {
                store: self.slice.id.clone(),
                place: place.clone(),
                reason: format!("{name}: {reason}"),
            })?;
            if record.parent.as_ref() == Some(place.name()) {
                return Ok(Some(record.place));
            }
        }
        Ok(None)
    }

    /// Compares an object with its record.
    fn is_as_recorded(
        &self,
        manifest: &Manifest,
        file: &Arc<dyn File>,
        read: &dyn Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        let parent = manifest.parent_place().map(|parent| parent.file(Format::Qcow2));
        let wanted = Wanted { format: Some(manifest.format()), most_virtual: None, parent };
        let checksum = format!("sha256:{}", manifest.sha256).parse().ok();
        let terms = Terms { wanted, checksum, most: u64::MAX };
        judge(file, &terms, read).map(drop).map_err(|error| StoreError::Refused {
            store: self.slice.id.clone(),
            place: manifest.place.clone(),
            source: Box::new(error),
        })
    }

    /// What is in the folder of `place`.
    fn beside(&self, place: &Place) -> Result<Beside, StoreError> {
        let there = self.disk.list(&self.folder(place)).map_err(self.failed("listing a folder"))?;
        Ok(Beside::of(place, &there))
    }

    fn not_occupied(&self, place: &Place) -> Result<(), StoreError> {
        match self.beside(place)?.occupant() {
            Some(found) => {
                let (store, place) = (self.slice.id.clone(), place.clone());
                Err(StoreError::Occupied { store, place, found })
            }
            None => Ok(()),
        }
    }

    /// Whether the object of `manifest` is at its place already, from before a crash.
    fn there_already(&self, manifest: &Manifest) -> Result<bool, StoreError> {
        if self.files(&manifest.place)?.is_empty() {
            return Ok(false);
        }
        match self.record(&manifest.place)? {
            Some(found) if found == *manifest => Ok(true),
            _ => Err(StoreError::Exists {
                store: self.slice.id.clone(),
                place: manifest.place.clone(),
            }),
        }
    }
}

impl Store for DirectoryStore {
    fn id(&self) -> &ObjectId {
        &self.slice.id
    }

    fn probe(&self) -> Result<Space, StoreError> {
        let ours = self.attached()?;
        if !self.slice.read_only {
            self.canary(&ours)?;
        }
        self.space()
    }

    fn workspace(&self) -> Result<Workspace, StoreError> {
        let folder = self.parts(&self.writable()?);
        let percent = self.slice.full_percent.get();
        if self.space()?.fuller_than(percent) {
            return Err(StoreError::Full { store: self.slice.id.clone(), percent });
        }
        self.disk.make_directory(&folder).map_err(self.failed("making its workspace"))?;
        Ok(Workspace { disk: Arc::clone(&self.disk), folder })
    }

    fn remove_parts(&self, keep: &dyn Fn(&str) -> bool) -> Result<(), StoreError> {
        let folder = self.parts(&self.writable()?);
        let names = self.disk.list(&folder).map_err(self.failed("listing its workspace"))?;
        // what is on its way to an object store is that one's to give up
        let ours = |name: &&String| !keep(name) && !name.ends_with(SUFFIX);
        for name in names.iter().filter(ours) {
            self.disk.remove(&folder.join(name)).map_err(self.failed("removing a part"))?;
        }
        Ok(())
    }

    fn publish(&self, part: &str, manifest: &Manifest) -> Result<(), StoreError> {
        let part = self.part(part)?;
        let _chain = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parent) = manifest.parent_place() {
            self.find(&parent)?;
        }
        self.not_occupied(&manifest.place)?;
        let folder = self.folder(&manifest.place);
        self.disk.make_directory(&folder).map_err(self.failed("making a folder"))?;
        if !self.there_already(manifest)? {
            let record = serde_json::to_vec_pretty(manifest).map_err(io::Error::other);
            let record = record.map_err(self.failed("writing a record"))?;
            let beside = folder.join(manifest.place.manifest());
            self.disk.replace(&beside, &record).map_err(self.failed("writing a record"))?;
            let to = folder.join(manifest.file());
            self.disk.rename(&part, &to).map_err(self.failed("giving an object its name"))?;
        }
        // last: CloudStack must not find a record of what is not there
        if let Some((name, text)) = properties::of(manifest) {
            let path = folder.join(name);
            self.disk.replace(&path, text.as_bytes()).map_err(self.failed("writing a record"))?;
        }
        Ok(())
    }

    fn layers(&self, place: &Place, read: &dyn Fn(u64) -> bool) -> Result<Layers, StoreError> {
        let (mut files, mut next) = (Vec::new(), Some(place.clone()));
        let mut top = None;
        while let Some(place) = next {
            let Opened { manifest, file, name } = self.open(&place)?;
            self.is_as_recorded(&manifest, &file, read)?;
            let path = self.folder(&place).join(name);
            files.push(Layer { path, format: manifest.format() });
            // a record that names itself would never end
            next = manifest.parent_place().filter(|_| files.len() <= MOST_LAYERS);
            top.get_or_insert(manifest);
        }
        let manifest = top.ok_or_else(|| self.not_found(place))?;
        Ok(Layers { manifest, files })
    }

    fn adopt(
        &self,
        place: &Place,
        job: &ObjectId,
        terms: &Terms,
        read: &dyn Fn(u64) -> bool,
    ) -> Result<Manifest, StoreError> {
        self.writable()?;
        match self.find(place) {
            Err(StoreError::NotFound { .. }) => {}
            known => return known,
        }
        let mut names = self.files(place)?;
        let (Some(name), true) = (names.pop(), names.is_empty()) else {
            return Err(self.not_found(place));
        };
        let folder = self.folder(place);
        let file = self.disk.open(&folder.join(&name)).map_err(self.failed("opening an object"))?;
        let refused = |error| StoreError::Refused {
            store: self.slice.id.clone(),
            place: place.clone(),
            source: Box::new(error),
        };
        let standing = judge(&file, terms, read).map_err(refused)?;
        let manifest = Manifest::of_standing(place, job, standing);
        if manifest.file() != name {
            let detail = format!("{name} is of format {}", manifest.format());
            let refusal = Refusal::new(RefusalCode::FormatMismatch, detail);
            return Err(refused(refusal.into()));
        }
        let record = serde_json::to_vec_pretty(&manifest).map_err(io::Error::other);
        let written =
            record.and_then(|record| self.disk.replace(&folder.join(place.manifest()), &record));
        written.map_err(self.failed("writing a record"))?;
        Ok(manifest)
    }

    fn vacant(&self, place: &Place) -> Result<(), StoreError> {
        self.attached()?;
        self.not_occupied(place)
    }

    fn find(&self, place: &Place) -> Result<Manifest, StoreError> {
        self.attached()?;
        let there = self.files(place)?;
        let manifest = self.record(place)?.ok_or_else(|| self.not_found(place))?;
        if there.contains(&manifest.file()) { Ok(manifest) } else { Err(self.not_found(place)) }
    }

    fn open(&self, place: &Place) -> Result<Opened, StoreError> {
        let manifest = self.find(place)?;
        let name = manifest.file();
        let file = self.disk.open(&self.folder(place).join(&name));
        let file = file.map_err(self.failed("opening an object"))?;
        Ok(Opened { manifest, file, name })
    }

    fn delete(&self, place: &Place) -> Result<(), StoreError> {
        self.writable()?;
        let _chain = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = self.child(place)? {
            let (store, place) = (self.slice.id.clone(), place.clone());
            return Err(StoreError::HasChild { store, place, child });
        }
        let folder = self.folder(place);
        let properties = self.beside(place)?.own_properties();
        // the record that makes it known goes first, our own last: whatever is left says what it belongs to
        let names = properties.into_iter().chain(self.files(place)?).chain([place.manifest()]);
        for name in names {
            self.disk.remove(&folder.join(name)).map_err(self.failed("deleting an object"))?;
        }
        self.disk.remove_empty(&folder).map_err(self.failed("removing a folder"))?;
        Ok(())
    }
}
