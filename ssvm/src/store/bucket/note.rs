//! What is remembered of an object that is being sent, beside its part: so that a process that is killed goes on with the piece
//! that it was at, and nothing unfinished stays in the bucket.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sluice_api::types::ObjectId;

use crate::disk::Disk;
use crate::slice::Place;
use crate::store::Manifest;

/// How the names of these files end.
pub(in crate::store) const SUFFIX: &str = ".upload";
/// Smallest piece that an object is sent in, in bytes.
const PIECE: u64 = 8 << 20;
/// Most pieces: some servers take a thousand.
const MOST_PIECES: u64 = 900;

/// An object on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// The store that it goes to.
    pub(super) store: ObjectId,
    /// The object.
    pub(super) place: Place,
    /// Its key there.
    pub(super) key: String,
    /// Digest of its bytes: others are another object.
    pub(super) sha256: String,
    /// Its length in bytes.
    pub(super) size: u64,
    /// Length of a piece in bytes; of the last one what is left.
    pub(super) piece: u64,
    /// What the server calls it until it is whole.
    pub(super) upload: String,
    /// What the server said of each piece that it has, in order.
    pub(super) parts: Vec<String>,
}

impl Note {
    /// Of an object of which nothing is sent yet.
    pub(super) fn begin(store: &ObjectId, key: &str, manifest: &Manifest, upload: String) -> Self {
        let size = manifest.size;
        let piece = size.div_ceil(MOST_PIECES).next_multiple_of(1 << 20).max(PIECE);
        let (place, sha256) = (manifest.place.clone(), manifest.sha256.clone());
        let (store, key, parts) = (store.clone(), key.to_owned(), Vec::new());
        Self { store, place, key, sha256, size, piece, upload, parts }
    }

    /// Whether it is of this object.
    pub(super) fn is_of(&self, store: &ObjectId, key: &str, manifest: &Manifest) -> bool {
        let own = (&self.store, self.key.as_str(), &self.sha256, self.size);
        own == (store, key, &manifest.sha256, manifest.size) && self.piece > 0
    }

    /// First byte and length of the next piece; none when all were sent.
    pub(super) fn next(&self) -> Option<(u64, u64)> {
        let at = self.piece.saturating_mul(u64::try_from(self.parts.len()).ok()?);
        let left = self.size.checked_sub(at).filter(|left| *left > 0)?;
        Some((at, left.min(self.piece)))
    }

    /// Length of each piece that was sent.
    pub(super) fn lengths(&self) -> impl Iterator<Item = (&str, u64)> {
        let starts = (0..).map(|number: u64| number.saturating_mul(self.piece));
        let length = |(start, part): (u64, _)| (part, (self.size - start).min(self.piece));
        starts.zip(self.parts.iter().map(String::as_str)).map(length)
    }

    /// Reads one; what cannot be read was never told to anybody.
    pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Self>> {
        let bytes = disk.read(path)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Keeps it; when this returns, a power cut does not undo it.
    pub(super) fn keep(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        disk.replace(path, &serde_json::to_vec(self)?)
    }
}

/// The name of the note of a part.
pub(super) fn name(part: &str) -> String {
    let job = part.rsplit_once('.').map_or(part, |(job, _)| job);
    format!("{job}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_object_and_no_more() {
        let place = serde_json::json!({ "volume": { "account": 1, "id": 2, "name": "v" } });
        let mut note = Note {
            store: "s".parse().unwrap(),
            place: serde_json::from_value(place).unwrap(),
            key: "k".to_owned(),
            sha256: String::new(),
            size: 20,
            piece: 8,
            upload: String::new(),
            parts: Vec::new(),
        };
        let mut seen = Vec::new();
        while let Some(next) = note.next() {
            seen.push(next);
            note.parts.push("e".to_owned());
        }
        assert_eq!(seen, [(0, 8), (8, 8), (16, 4)]);
        assert_eq!(note.lengths().map(|(_, length)| length).collect::<Vec<_>>(), [8, 8, 4]);
        assert_eq!(name("im-1.source"), "im-1.upload");
    }
}
