//! An object of a bucket as a file that is read: in pieces, ahead of whoever reads it in order.
//!
//! Guarantees: one that is read from its first to its last byte was compared with its record, or the last read fails; it then
//! stays on the store in front.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::cache::Cache;
use super::remote::Remote;
use crate::checksum::{Checksum, HashFunction, Hasher};
use crate::disk::{Disk, File};

/// Bytes that are fetched at once, and held for each download.
const PIECE: u64 = 1 << 20;

/// The object.
pub(super) struct RemoteFile {
    pub(super) remote: Arc<Remote>,
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) state: Mutex<State>,
}

/// What of it is at hand.
pub(super) struct State {
    at: u64,
    piece: Bytes,
    check: Option<Check>,
}

/// An object that was read in order so far.
pub(super) struct Check {
    pub(super) sha256: String,
    hasher: Hasher,
    reached: u64,
    /// Where it is put together; none: it does not stay.
    stays: Option<Stays>,
}

/// What it is put together for.
pub(super) struct Stays {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) cache: Arc<Cache>,
    pub(super) folder: PathBuf,
    part: PathBuf,
    file: Arc<dyn File>,
}

impl Drop for Stays {
    fn drop(&mut self) {
        // one that was taken in is no longer there
        let _ = self.disk.remove(&self.part);
    }
}

impl Stays {
    pub(super) fn new(disk: Arc<dyn Disk>, cache: Arc<Cache>, folder: PathBuf) -> io::Result<Self> {
        let part = Cache::part(&folder);
        let file = disk.create(&part)?;
        Ok(Self { disk, cache, folder, part, file })
    }
}

impl State {
    pub(super) fn new(sha256: &str, stays: Option<Stays>) -> Self {
        let check = Check {
            sha256: sha256.to_owned(),
            hasher: Hasher::new(HashFunction::Sha256),
            reached: 0,
            stays,
        };
        Self { at: 0, piece: Bytes::new(), check: Some(check) }
    }

    /// The byte at `at` and those behind it, as far as they are at hand.
    fn from(&self, at: u64) -> Option<Bytes> {
        let skip = usize::try_from(at.checked_sub(self.at)?).ok()?;
        (skip < self.piece.len()).then(|| self.piece.slice(skip..))
    }

    /// Takes note of a piece that was fetched.
    fn fetched(&mut self, at: u64, piece: Bytes, size: u64) -> io::Result<()> {
        let in_order = self.check.as_ref().is_some_and(|check| check.reached == at);
        if !in_order {
            self.check = None;
        }
        if let Some(check) = &mut self.check {
            check.take(&piece);
            if check.reached == size {
                self.check.take().map_or(Ok(()), |check| check.finish(size))?;
            }
        }
        (self.at, self.piece) = (at, piece);
        Ok(())
    }
}

impl Check {
    fn take(&mut self, piece: &Bytes) {
        self.hasher.update(piece);
        let kept = self.stays.as_ref().map(|stays| stays.file.write_at(self.reached, piece));
        if let Some(Err(error)) = kept {
            tracing::warn!(%error, "an image does not stay on the store in front");
            self.stays = None;
        }
        self.reached += u64::try_from(piece.len()).unwrap_or(0);
    }

    fn finish(self, size: u64) -> io::Result<()> {
        let found = Checksum::of(HashFunction::Sha256, &self.hasher.bytes());
        if found.hex() != self.sha256 {
            tracing::error!(found = found.hex(), recorded = self.sha256, "an object was changed");
            let reason = "the object is not what its record says";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        if let Some(stays) = &self.stays {
            let taken = stays
                .file
                .sync()
                .and_then(|()| stays.cache.take_in(&stays.folder, &stays.part, &self.sha256, size));
            if let Err(error) = taken {
                tracing::warn!(%error, "an image does not stay on the store in front");
            }
        }
        Ok(())
    }
}

impl RemoteFile {
    /// Blocks; called where it may.
    fn piece(&self, at: u64) -> io::Result<Bytes> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = state.from(at) {
            return Ok(bytes);
        }
        let end = at.saturating_add(PIECE).min(self.size);
        let fetched = Handle::current().block_on(self.remote.range(&self.key, at, end))?;
        let piece = fetched.ok_or(io::ErrorKind::NotFound)?;
        if piece.len() != usize::try_from(end - at).map_err(io::Error::other)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        state.fetched(at, piece.clone(), self.size)?;
        Ok(piece)
    }
}

impl File for RemoteFile {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            let at = at + u64::try_from(filled).map_err(io::Error::other)?;
            if at >= self.size {
                break;
            }
            let piece = self.piece(at)?;
            let Some(rest) = into.get_mut(filled..) else { break };
            let take = rest.len().min(piece.len());
            let (Some(to), Some(from)) = (rest.get_mut(..take), piece.get(..take)) else { break };
            to.copy_from_slice(from);
            filled += take;
        }
        Ok(filled)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_length(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
