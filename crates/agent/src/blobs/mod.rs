//! Large and secret things beside the configuration: taken in by digest, kept sealed, handed to who is configured with them.
//!
//! Guarantees: what is kept has the digest that it is asked for by; on the disk it is sealed; it is never logged, shown or
//! answered. What no configuration of the ledger names goes away, after a grace in which one that names it may be pushed.

mod seal;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_api::types::{BlobDigest, SecretBytes};

pub(crate) use seal::seal_key;
pub use store::{BlobError, BlobStore, MAX_TOTAL};

/// The blobs that a configuration names, by digest. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Blobs(BTreeMap<BlobDigest, Arc<SecretBytes>>);

impl Blobs {
    /// None at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// These, for tests and desks: each under its own digest.
    pub fn of(all: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let named = |bytes: Vec<u8>| (BlobDigest::of(&bytes), Arc::new(SecretBytes::new(bytes)));
        Self(all.into_iter().map(named).collect())
    }

    /// The bytes of a blob. `None` only after damage to the disk: the appliance goes on without what needs it, and says
    /// which are missing.
    pub fn get(&self, digest: &BlobDigest) -> Option<&SecretBytes> {
        self.0.get(digest).map(Arc::as_ref)
    }
}
