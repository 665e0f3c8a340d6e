//! Numbers at offsets: how every header is read.

use super::bytes::Bytes;
use super::refusal::{Judgement, RefusalCode, refuse};

/// A piece of an image in memory.
pub(super) struct Block(Vec<u8>);

/// Largest piece read at once, in bytes; above it a header asks for more than any real one has.
const MOST: u64 = 32 << 20;

impl Block {
    /// Reads `length` bytes at `at`.
    pub(super) fn read(image: &dyn Bytes, at: u64, length: u64) -> Result<Self, Judgement> {
        if length > MOST {
            let detail = format!("a table of {length} bytes, limit {MOST}");
            return refuse(RefusalCode::Malformed, detail);
        }
        // a length that the image cannot have must not cost its memory
        if image.length().is_some_and(|all| all < at.saturating_add(length)) {
            return Err(super::bytes::Gap::Past.into());
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        image.read(at, &mut bytes)?;
        Ok(Self(bytes))
    }

    /// The same, none when the image ends before.
    pub(super) fn read_if_there(
        image: &dyn Bytes,
        at: u64,
        length: u64,
    ) -> Result<Option<Self>, Judgement> {
        match Self::read(image, at, length) {
            Ok(block) => Ok(Some(block)),
            Err(Judgement::Refused(refusal)) if refusal.code == RefusalCode::Truncated => Ok(None),
            Err(other) => Err(other),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The `N` bytes at `at`; zeros beyond the block, which no caller asks for.
    pub(super) fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let end = at.saturating_add(N);
        self.0.get(at..end).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
    }

    pub(super) fn starts_with(&self, magic: &[u8]) -> bool {
        self.0.starts_with(magic)
    }

    pub(super) fn u16_le(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    pub(super) fn u32_le(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub(super) fn u64_le(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    pub(super) fn u32_be(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.array(at))
    }

    pub(super) fn u64_be(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.array(at))
    }
}
