//! Where blobs are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_api::boot::BootDocument;
use sluice_api::types::{BlobDigest, MAX_BLOB, SecretBytes};
use thiserror::Error;
use tokio::time::Instant;

use super::Blobs;
use super::seal::Seal;
use crate::ledger::Files;

/// Bytes of all blobs together: 24 MiB, of a data partition that also holds three configurations.
pub const MAX_TOTAL: usize = 24 * 1024 * 1024;
/// How long a blob that no configuration names is kept for one that does.
const GRACE: Duration = Duration::from_mins(15);
/// Bytes that are also kept in memory, so that a change of one rule does not read every guest's data from the disk.
const MAX_CACHED: usize = 8 * 1024 * 1024;

const PREFIX: &str = "blob-";

/// Why a blob was not taken.
#[derive(Debug, Error)]
pub enum BlobError {
    /// The bytes are not what they were said to be.
    #[error("these bytes are {found}")]
    Digest {
        /// Their real name.
        found: BlobDigest,
    },
    /// No room. Retrying helps when others have gone.
    #[error("the blobs here take {used} bytes of {MAX_TOTAL}")]
    Full {
        /// What is taken.
        used: usize,
    },
    /// Larger than any blob may be.
    #[error("it is larger than {MAX_BLOB} bytes")]
    TooLarge,
    /// The disk, or the kernel's random numbers. Retrying can help.
    #[error("it cannot be kept")]
    Keep(#[source] io::Error),
}

/// All blobs of an appliance. Shared; each call is whole.
pub struct BlobStore {
    files: Arc<dyn Files>,
    /// `None` cannot happen: the cipher takes its own key.
    seal: Option<Seal>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    known: BTreeMap<BlobDigest, Known>,
    named: BTreeSet<BlobDigest>,
    cached: BTreeMap<BlobDigest, Arc<SecretBytes>>,
}

/// A blob on the disk.
struct Known {
    size: usize,
    since: Instant,
}

impl Held {
    fn used(&self) -> usize {
        self.known.values().map(|known| known.size).sum()
    }

    fn cache(&mut self, digest: BlobDigest, bytes: &Arc<SecretBytes>) {
        let held: usize = self.cached.values().map(|bytes| bytes.reveal().len()).sum();
        if held + bytes.reveal().len() <= MAX_CACHED {
            self.cached.insert(digest, Arc::clone(bytes));
        }
    }

    fn forget(&mut self, digest: &BlobDigest) {
        self.known.remove(digest);
        self.cached.remove(digest);
    }

    /// Blobs that nothing names, the oldest first; with `only_old`, those whose grace is over.
    fn surplus(&self, only_old: bool) -> Vec<BlobDigest> {
        let mut free: Vec<_> = self
            .known
            .iter()
            .filter(|(digest, known)| {
                !self.named.contains(*digest) && (!only_old || known.since.elapsed() >= GRACE)
            })
            .map(|(digest, known)| (known.since, *digest))
            .collect();
        free.sort_unstable();
        free.into_iter().map(|(_, digest)| digest).collect()
    }
}

fn file_name(digest: &BlobDigest) -> String {
    format!("{PREFIX}{}", digest.hex())
}

impl BlobStore {
    /// The blobs in `files`, sealed with what `boot` gives.
    pub fn open(files: Arc<dyn Files>, boot: &BootDocument) -> Self {
        let mut held = Held::default();
        for name in files.list().unwrap_or_default() {
            let digest = name.strip_prefix(PREFIX).map(|hex| format!("sha256:{hex}").parse());
            if let Some(Ok(digest)) = digest {
                let size = files.read(&name).ok().flatten().map_or(0, |bytes| bytes.len());
                held.known.insert(digest, Known { size, since: Instant::now() });
            }
        }
        Self { files, seal: Seal::of(boot), held: Mutex::new(held) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `bytes` under `digest`. The same again is fine.
    pub fn put(&self, digest: BlobDigest, bytes: &[u8]) -> Result<(), BlobError> {
        let found = BlobDigest::of(bytes);
        if found != digest {
            return Err(BlobError::Digest { found });
        }
        if bytes.len() > MAX_BLOB {
            return Err(BlobError::TooLarge);
        }
        let mut held = self.held();
        if let Some(known) = held.known.get_mut(&digest) {
            known.since = Instant::now();
            return Ok(());
        }
        self.make_room(&mut held, bytes.len())?;
        let sealed = self.seal.as_ref().and_then(|seal| seal.close(&digest, bytes));
        let sealed =
            sealed.ok_or_else(|| BlobError::Keep(io::Error::other("no random numbers")))?;
        self.files.replace(&file_name(&digest), &sealed).map_err(BlobError::Keep)?;
        held.known.insert(digest, Known { size: sealed.len(), since: Instant::now() });
        held.cache(digest, &Arc::new(SecretBytes::new(bytes)));
        Ok(())
    }

    /// What nothing names makes room for what is coming.
    fn make_room(&self, held: &mut Held, wanted: usize) -> Result<(), BlobError> {
        for digest in held.surplus(false) {
            if held.used() + wanted <= MAX_TOTAL {
                break;
            }
            self.drop_one(held, &digest);
        }
        let used = held.used();
        if used + wanted > MAX_TOTAL { Err(BlobError::Full { used }) } else { Ok(()) }
    }

    /// Whether a blob is here, as far as is known without reading it.
    pub fn has(&self, digest: &BlobDigest) -> bool {
        self.held().known.contains_key(digest)
    }

    /// The blobs of `wanted`, and those of them that are not here or cannot be read.
    pub fn collect(&self, wanted: &BTreeSet<BlobDigest>) -> (Blobs, Vec<BlobDigest>) {
        let mut held = self.held();
        let (mut found, mut missing) = (BTreeMap::new(), Vec::new());
        for digest in wanted {
            match self.read(&mut held, digest) {
                Some(bytes) => drop(found.insert(*digest, bytes)),
                None => missing.push(*digest),
            }
        }
        (Blobs(found), missing)
    }

    fn read(&self, held: &mut Held, digest: &BlobDigest) -> Option<Arc<SecretBytes>> {
        held.known.get(digest)?;
        if let Some(bytes) = held.cached.get(digest) {
            return Some(Arc::clone(bytes));
        }
        let sealed = self.files.read(&file_name(digest)).ok().flatten();
        let open = |sealed: Vec<u8>| self.seal.as_ref()?.open(digest, &sealed);
        let Some(bytes) = sealed.and_then(open) else {
            // damaged, or sealed with another key: as good as gone, and to be sent again
            tracing::error!(%digest, "a blob cannot be read");
            held.forget(digest);
            return None;
        };
        let bytes = Arc::new(bytes);
        held.cache(*digest, &bytes);
        Some(bytes)
    }

    /// From now on `named` are kept; others go when their grace is over.
    pub fn keep(&self, named: BTreeSet<BlobDigest>) {
        let mut held = self.held();
        held.named = named;
        for digest in held.surplus(true) {
            self.drop_one(&mut held, &digest);
        }
    }

    fn drop_one(&self, held: &mut Held, digest: &BlobDigest) {
        match self.files.remove(&file_name(digest)) {
            Ok(()) => held.forget(digest),
            Err(error) => tracing::warn!(%digest, %error, "a blob cannot be removed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Memory(Mutex<BTreeMap<String, Vec<u8>>>);

    impl Files for Memory {
        fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(self.0.lock().unwrap().get(name).cloned())
        }

        fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
            self.0.lock().unwrap().insert(name.to_owned(), bytes.to_owned());
            Ok(())
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.lock().unwrap().remove(name);
            Ok(())
        }

        fn list(&self) -> io::Result<Vec<String>> {
            Ok(self.0.lock().unwrap().keys().cloned().collect())
        }
    }

    fn boot() -> BootDocument {
        let bytes = include_bytes!("../../../../fuzz/corpus/boot/example.json");
        BootDocument::decode(bytes).unwrap()
    }

    fn open(files: &Arc<Memory>, boot: &BootDocument) -> BlobStore {
        BlobStore::open(Arc::clone(files) as _, boot)
    }

    fn all(store: &BlobStore, digests: &[BlobDigest]) -> Vec<Option<Vec<u8>>> {
        let (blobs, _) = store.collect(&digests.iter().copied().collect());
        digests.iter().map(|digest| blobs.get(digest).map(|it| it.reveal().to_vec())).collect()
    }

    #[tokio::test]
    async fn what_is_kept_is_sealed_and_only_the_same_boot_document_opens_it() {
        let files = Arc::new(Memory::default());
        let secret = b"a pre-shared key that nobody is to read".to_vec();
        let digest = BlobDigest::of(&secret);
        let store = open(&files, &boot());
        store.put(digest, &secret).unwrap();
        store.put(digest, &secret).unwrap();
        let on_disk = files.0.lock().unwrap().values().next().unwrap().clone();
        assert!(!on_disk.windows(8).any(|part| secret.windows(8).any(|other| other == part)));
        assert_eq!(all(&open(&files, &boot()), &[digest]), [Some(secret.clone())]);
        let mut other = boot();
        other.identity.key = sluice_api::types::Secret::new("another");
        assert_eq!(all(&open(&files, &other), &[digest]), [None]);
        // a renewed identity keeps what it was sealed with
        let mut kept = other.clone();
        kept.seal_key = Some(seal_key_of(&boot()));
        assert_eq!(all(&open(&files, &kept), &[digest]), [Some(secret)]);
    }

    fn seal_key_of(boot: &BootDocument) -> sluice_api::types::Secret {
        super::super::seal_key(boot)
    }

    #[tokio::test]
    async fn a_blob_that_was_changed_or_swapped_is_missing_and_can_be_sent_again() {
        let files = Arc::new(Memory::default());
        let store = open(&files, &boot());
        let (one, two) = (b"one".to_vec(), b"two".to_vec());
        let (first, second) = (BlobDigest::of(&one), BlobDigest::of(&two));
        store.put(first, &one).unwrap();
        store.put(second, &two).unwrap();
        let sealed = files.read(&file_name(&first)).unwrap().unwrap();
        files.replace(&file_name(&second), &sealed).unwrap();
        for at in 0..sealed.len() {
            let mut turned = sealed.clone();
            turned[at] ^= 1;
            files.replace(&file_name(&first), &turned).unwrap();
            let store = open(&files, &boot());
            assert_eq!(all(&store, &[first, second]), [None, None], "byte {at}");
            assert!(!store.has(&first));
            store.put(first, &one).unwrap();
            assert_eq!(all(&open(&files, &boot()), &[first]), [Some(one.clone())]);
        }
    }

    #[tokio::test]
    async fn bytes_that_are_not_what_they_are_said_to_be_are_refused() {
        let store = open(&Arc::default(), &boot());
        let error = store.put(BlobDigest::of(b"one"), b"two").unwrap_err();
        assert!(matches!(error, BlobError::Digest { found } if found == BlobDigest::of(b"two")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nothing_names_goes_after_a_grace_or_when_room_is_needed() {
        let files = Arc::new(Memory::default());
        let store = open(&files, &boot());
        let blob = |number: u8| vec![number; MAX_BLOB - 100];
        let name = |number: u8| BlobDigest::of(&blob(number));
        for number in 0..3 {
            store.put(name(number), &blob(number)).unwrap();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        store.keep([name(0)].into());
        // the oldest that nothing names makes room
        store.put(name(3), &blob(3)).unwrap();
        let here = |numbers: [bool; 4]| {
            assert_eq!([0, 1, 2, 3].map(|number| store.has(&name(number))), numbers);
        };
        here([true, false, true, true]);
        store.keep([0, 2, 3].map(name).into());
        assert!(matches!(store.put(name(4), &blob(4)), Err(BlobError::Full { .. })));
        store.keep([name(0)].into());
        here([true, false, true, true]);
        tokio::time::advance(GRACE).await;
        store.keep([name(0)].into());
        here([true, false, false, false]);
        assert_eq!(files.list().unwrap().len(), 1);
    }
}
