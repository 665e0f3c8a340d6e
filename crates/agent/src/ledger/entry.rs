//! One configuration in the ledger: its number, the digest of its bytes as they came, and what it says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_api::Digest;
use sluice_api::types::Generation;

/// Number and digest of a configuration: the same number must not come with other content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Its number.
    pub generation: Generation,
    /// Digest of its bytes as they came.
    pub digest: Digest,
}

/// One configuration by number and content. Cheap to clone.
#[derive(Debug)]
pub struct Entry<C> {
    /// Number and digest.
    pub seen: Seen,
    /// Itself.
    pub config: Arc<C>,
}

impl<C> Entry<C> {
    /// The entry of `config`, which came as `bytes`.
    pub fn new(generation: Generation, config: C, bytes: &[u8]) -> Self {
        let seen = Seen { generation, digest: Digest::of_bytes(bytes) };
        Self { seen, config: Arc::new(config) }
    }

    /// Its number.
    pub fn generation(&self) -> Generation {
        self.seen.generation
    }

    /// Digest of its bytes.
    pub fn digest(&self) -> &Digest {
        &self.seen.digest
    }
}

impl<C> Clone for Entry<C> {
    fn clone(&self) -> Self {
        Self { seen: self.seen.clone(), config: Arc::clone(&self.config) }
    }
}

impl<C> PartialEq for Entry<C> {
    fn eq(&self, other: &Self) -> bool {
        self.seen == other.seen
    }
}
