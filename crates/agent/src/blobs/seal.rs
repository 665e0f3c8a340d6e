//! What secrets on the disk are sealed with.
//!
//! Guarantees: without the boot document nothing of a sealed blob can be read, and none can be swapped for another or
//! changed without notice (ChaCha20-Poly1305, RFC 8439, with the blob's digest as associated data; the key by HKDF, RFC
//! 5869). ChaCha rather than AES: it takes the same time whatever the key, also where the processor knows no AES.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use sluice_api::boot::BootDocument;
use sluice_api::types::{BlobDigest, Secret, SecretBytes};

/// First bytes of a sealed blob: what it is, and the version of its form.
const MAGIC: &[u8; 4] = b"SLB1";
/// What the key is for.
const PURPOSE: &[&[u8]] = &[b"sluice blobs at rest, version 1"];

/// The key of one appliance.
pub(super) struct Seal(LessSafeKey);

/// The seal key of a boot document: its own, or one made of the identity's key, which must not change with it afterwards.
pub(crate) fn seal_key(boot: &BootDocument) -> Secret {
    if let Some(own) = &boot.seal_key {
        return own.clone();
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, boot.identity.key.reveal().as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Secret::new(hex)
}

impl Seal {
    /// The key that `boot` gives. `None` cannot happen: the length asked for is the cipher's own.
    pub(super) fn of(boot: &BootDocument) -> Option<Self> {
        let salt = Salt::new(HKDF_SHA256, boot.appliance.as_str().as_bytes());
        let material = salt.extract(seal_key(boot).reveal().as_bytes());
        let key = material.expand(PURPOSE, &CHACHA20_POLY1305).ok()?;
        Some(Self(LessSafeKey::new(UnboundKey::from(key))))
    }

    /// `bytes`, sealed; `None` when the kernel has no random numbers to give.
    pub(super) fn close(&self, digest: &BlobDigest, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut text = bytes.to_owned();
        let (nonce_value, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(digest.bytes()));
        self.0.seal_in_place_append_tag(nonce_value, aad, &mut text).ok()?;
        Some([MAGIC.as_slice(), &nonce, &text].concat())
    }

    /// What was sealed under `digest`; `None` when it was not, or not with this key, or was changed.
    pub(super) fn open(&self, digest: &BlobDigest, sealed: &[u8]) -> Option<SecretBytes> {
        let rest = sealed.strip_prefix(MAGIC)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (nonce, aad) = (Nonce::assume_unique_for_key(*nonce), Aad::from(digest.bytes()));
        let mut text = text.to_owned();
        let length = self.0.open_in_place(nonce, aad, &mut text).ok()?.len();
        text.truncate(length);
        let bytes = SecretBytes::new(text);
        (BlobDigest::of(bytes.reveal()) == *digest).then_some(bytes)
    }
}
