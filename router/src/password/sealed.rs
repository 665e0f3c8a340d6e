//! Secrets at rest in memory.
//!
//! Guarantees: a sealed secret is of no use without the key of this process; nobody has the key in readable form but the
//! cipher itself. What this is for: a stray read of the heap, or a page that went somewhere, tells no password. What it is
//! not: a defence against who controls the process.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use sluice_api::types::Secret;

/// Seals and opens.
#[derive(Debug)]
pub(super) struct Safe {
    key: LessSafeKey,
    random: SystemRandom,
}

/// A secret that only its [`Safe`] can open.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    nonce: [u8; NONCE_LEN],
    bytes: Vec<u8>,
}

impl Safe {
    /// A safe with a key of its own; `None` when the system has no randomness to give.
    pub(super) fn new() -> Option<Self> {
        let random = SystemRandom::new();
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        random.fill(bytes.as_mut()).ok()?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes.as_ref()).ok()?;
        Some(Self { key: LessSafeKey::new(key), random })
    }

    /// `None` when the system has no randomness to give.
    pub(super) fn seal(&self, secret: &Secret) -> Option<Sealed> {
        let mut nonce = [0; NONCE_LEN];
        // random: a process seals some thousands, and 2^32 would be few enough for 96 bits
        self.random.fill(&mut nonce).ok()?;
        // sealed where it stands, so that no copy is left
        let mut bytes = secret.reveal().as_bytes().to_vec();
        let nonce_once = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce_once, Aad::empty(), &mut bytes).ok()?;
        Some(Sealed { nonce, bytes })
    }

    /// The secret again; `None` for one that this safe did not seal.
    pub(super) fn open(&self, sealed: &Sealed) -> Option<Secret> {
        let mut bytes = zeroize::Zeroizing::new(sealed.bytes.clone());
        let nonce = Nonce::assume_unique_for_key(sealed.nonce);
        let plain = self.key.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?;
        std::str::from_utf8(plain).ok().map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_shows_nothing_and_opens_again() {
        let safe = Safe::new().unwrap();
        let sealed = safe.seal(&Secret::new("fo0bar-Pässword")).unwrap();
        assert!(!sealed.bytes.windows(6).any(|bytes| bytes == b"fo0bar"));
        assert_eq!(safe.open(&sealed).unwrap().reveal(), "fo0bar-Pässword");
        assert!(Safe::new().unwrap().open(&sealed).is_none(), "another key");
    }
}
