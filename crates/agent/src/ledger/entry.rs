//! One configuration in the ledger.
//!
//! Guarantees: what is read back has the digest that it was written with. It is turned into JSON once, when it comes in;
//! every page it is written to after that, and every copy of it, shares that text. A configuration of ten thousand guests
//! would else be encoded and hashed seven times per change.

use std::sync::Arc;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use sluice_api::Digest;
use sluice_api::types::Generation;

/// One configuration by number and content. Cheap to clone.
#[derive(Debug)]
pub struct Entry<C> {
    /// Its number.
    pub generation: Generation,
    /// Digest of its content.
    pub digest: Digest,
    /// Itself.
    pub config: Arc<C>,
    /// Itself, as the canonical JSON that the digest is of.
    text: Arc<RawValue>,
}

/// An entry as it stands in a page.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<T> {
    generation: Generation,
    digest: Digest,
    config: T,
}

impl<C: Serialize> Entry<C> {
    /// The entry of `config`; fails only for a type that JSON cannot express.
    pub fn new(generation: Generation, config: C) -> Result<Self, serde_json::Error> {
        let text = serde_json::value::to_raw_value(&config)?;
        let digest = Digest::of_bytes(text.get().as_bytes());
        Ok(Self { generation, digest, config: Arc::new(config), text: text.into() })
    }
}

impl<C> Clone for Entry<C> {
    fn clone(&self) -> Self {
        Self {
            generation: self.generation,
            digest: self.digest.clone(),
            config: Arc::clone(&self.config),
            text: Arc::clone(&self.text),
        }
    }
}

impl<C> PartialEq for Entry<C> {
    fn eq(&self, other: &Self) -> bool {
        (self.generation, &self.digest) == (other.generation, &other.digest)
    }
}

impl<C> Serialize for Entry<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let config: &RawValue = &self.text;
        let (generation, digest) = (self.generation, self.digest.clone());
        Written { generation, digest, config }.serialize(serializer)
    }
}

impl<'de, C: DeserializeOwned> Deserialize<'de> for Entry<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { generation, digest, config: text } =
            Written::<Box<RawValue>>::deserialize(deserializer)?;
        if Digest::of_bytes(text.get().as_bytes()) != digest {
            return Err(D::Error::custom(format!(
                "the digest of generation {generation} does not match"
            )));
        }
        let config = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { generation, digest, config: Arc::new(config), text: text.into() })
    }
}
