//! Digests as they are counted while bytes go by.

use md5::Md5;
use sha1::Sha1;
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};
pub use sluice_api::types::{Checksum, HashFunction};

/// A hash function at work.
#[derive(Clone)]
pub enum Hasher {
    /// See [`HashFunction::Md5`].
    Md5(Md5),
    /// See [`HashFunction::Sha1`].
    Sha1(Sha1),
    /// See [`HashFunction::Sha224`].
    Sha224(Sha224),
    /// See [`HashFunction::Sha256`].
    Sha256(Sha256),
    /// See [`HashFunction::Sha384`].
    Sha384(Sha384),
    /// See [`HashFunction::Sha512`].
    Sha512(Sha512),
}

impl Hasher {
    /// `function` before the first byte.
    pub fn new(function: HashFunction) -> Self {
        match function {
            HashFunction::Md5 => Self::Md5(Md5::new()),
            HashFunction::Sha1 => Self::Sha1(Sha1::new()),
            HashFunction::Sha224 => Self::Sha224(Sha224::new()),
            HashFunction::Sha256 => Self::Sha256(Sha256::new()),
            HashFunction::Sha384 => Self::Sha384(Sha384::new()),
            HashFunction::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hash) => hash.update(bytes),
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha224(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Its state, from which [`Hasher::restore`] goes on.
    pub fn save(&self) -> Vec<u8> {
        match self {
            Self::Md5(hash) => hash.serialize().to_vec(),
            Self::Sha1(hash) => hash.serialize().to_vec(),
            Self::Sha224(hash) => hash.serialize().to_vec(),
            Self::Sha256(hash) => hash.serialize().to_vec(),
            Self::Sha384(hash) => hash.serialize().to_vec(),
            Self::Sha512(hash) => hash.serialize().to_vec(),
        }
    }

    /// `function` in the state `saved`; none when it is no state of it.
    pub fn restore(function: HashFunction, saved: &[u8]) -> Option<Self> {
        Some(match function {
            HashFunction::Md5 => Self::Md5(state(saved)?),
            HashFunction::Sha1 => Self::Sha1(state(saved)?),
            HashFunction::Sha224 => Self::Sha224(state(saved)?),
            HashFunction::Sha256 => Self::Sha256(state(saved)?),
            HashFunction::Sha384 => Self::Sha384(state(saved)?),
            HashFunction::Sha512 => Self::Sha512(state(saved)?),
        })
    }

    /// The result.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Md5(hash) => hash.finalize().to_vec(),
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Sha224(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha384(hash) => hash.finalize().to_vec(),
            Self::Sha512(hash) => hash.finalize().to_vec(),
        }
    }
}

fn state<T: SerializableState>(saved: &[u8]) -> Option<T> {
    T::deserialize(saved.try_into().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_their_standards() {
        let of = |function| {
            let mut hasher = Hasher::new(function);
            hasher.update(b"a");
            hasher.update(b"bc");
            Checksum::of(function, &hasher.bytes()).hex().to_owned()
        };
        assert_eq!(of(HashFunction::Md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(of(HashFunction::Sha1), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert!(of(HashFunction::Sha224).starts_with("23097d22"));
        assert!(of(HashFunction::Sha256).starts_with("ba7816bf"));
        assert!(of(HashFunction::Sha384).starts_with("cb00753f"));
        assert!(of(HashFunction::Sha512).starts_with("ddaf35a1"));
    }

    #[test]
    fn a_saved_state_goes_on_where_it_was() {
        for function in HashFunction::ALL {
            let mut whole = Hasher::new(function);
            whole.update(&[7; 1000]);
            let saved = whole.save();
            let mut resumed = Hasher::restore(function, &saved).unwrap();
            for hasher in [&mut whole, &mut resumed] {
                hasher.update(&[8; 777]);
            }
            assert_eq!(whole.bytes(), resumed.bytes(), "{function:?}");
            assert!(Hasher::restore(function, &saved[1..]).is_none());
        }
    }
}
