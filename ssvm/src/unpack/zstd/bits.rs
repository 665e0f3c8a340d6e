//! Bits of the two directions that zstd has them in.

/// Reads from the lowest bit of the first byte on (RFC 8878 4.1.1).
pub(super) struct Forward<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Forward<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bits, at most 16; none beyond the end.
    pub(super) fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for place in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value |= u32::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(value)
    }

    /// Gives one bit back.
    pub(super) const fn unread(&mut self) {
        self.at -= 1;
    }

    /// Whole bytes used so far.
    pub(super) const fn bytes(&self) -> usize {
        self.at.div_ceil(8)
    }
}

/// Writes as [`Forward`] reads.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    at: usize,
}

impl Writer {
    pub(super) fn write(&mut self, value: u32, count: u32) {
        for place in 0..count {
            if self.at.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = u8::from(value >> place & 1 == 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (self.at % 8);
            }
            self.at += 1;
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads from the highest bit of the last byte on, behind the first one that is set (RFC 8878 4.1).
pub(super) struct Backward<'a> {
    bytes: &'a [u8],
    /// Bits that are left.
    left: usize,
}

impl<'a> Backward<'a> {
    /// None when there is no bit set to begin behind.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let last = *bytes.last()?;
        let unused = usize::try_from(last.leading_zeros()).ok()? + 1;
        (last != 0).then(|| Self { bytes, left: bytes.len() * 8 - unused })
    }

    /// The next `count` bits, at most 32; none when fewer are left.
    pub(super) fn read(&mut self, count: u32) -> Option<u64> {
        let count = usize::try_from(count).ok()?;
        let from = self.left.checked_sub(count)?;
        let mut value = 0;
        for (place, at) in (from..self.left).enumerate() {
            let byte = self.bytes.get(at / 8)?;
            value |= u64::from(byte >> (at % 8) & 1) << place;
        }
        self.left = from;
        Some(value)
    }

    /// Whether every bit was read.
    pub(super) const fn is_empty(&self) -> bool {
        self.left == 0
    }
}
