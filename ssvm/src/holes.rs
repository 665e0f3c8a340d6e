//! Bytes on their way between two secondary storage VMs, with zeros left out.
//!
//! Who asks with the header [`HOLES`] may be answered with it; then the body, or the range of it, is frames: how many zeros,
//! how many bytes follow them (32 bits each, big-endian), then those bytes. What it stands for, its ranges and digests are those
//! of the object, so either side may be of an earlier build and everything else stays as it is. Zeros are found by looking at
//! the bytes, for not every file server says where its files have holes.
//!
//! Guarantees of reading: nothing a peer sends takes more memory than its own bytes and one block of zeros.

use bytes::{Buf as _, Bytes};

/// The header, of requests and answers; its one value is `1`.
pub const HOLES: &str = "sluice-holes";
/// Length of what stands before the bytes of a frame.
const HEAD: usize = 8;
/// Smallest run of zeros that is left out.
const PIECE: usize = 4096;
static ZEROS: [u8; 65_536] = [0; 65_536];

/// The frames of `block`.
pub fn framed(block: &[u8]) -> Vec<u8> {
    let mut frames = Vec::with_capacity(HEAD + block.len());
    let (mut zeros, mut start, mut at) = (0, 0, 0);
    for piece in block.chunks(PIECE) {
        if is_zero(piece) {
            if start < at {
                frame(&mut frames, zeros, block.get(start..at).unwrap_or_default());
                zeros = 0;
            }
            zeros += piece.len();
            start = at + piece.len();
        }
        at += piece.len();
    }
    if zeros > 0 || start < at {
        frame(&mut frames, zeros, block.get(start..at).unwrap_or_default());
    }
    frames
}

fn is_zero(piece: &[u8]) -> bool {
    ZEROS.starts_with(piece)
}

fn frame(frames: &mut Vec<u8>, zeros: usize, bytes: &[u8]) {
    for length in [zeros, bytes.len()] {
        // a block that is sent at once is far from 4 GiB
        frames.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
    frames.extend(bytes);
}

/// Reads frames.
#[derive(Debug, Default)]
pub struct Frames {
    /// What came and was not looked at.
    waiting: Bytes,
    /// The beginning of a head.
    head: Vec<u8>,
    zeros: u64,
    bytes: u64,
}

impl Frames {
    /// Takes what came next; everything before has to be read.
    pub fn came(&mut self, bytes: Bytes) {
        self.waiting = bytes;
    }

    /// The next bytes, at most 64 KiB of zeros at a time; none: more must come.
    pub fn take(&mut self) -> Option<Bytes> {
        loop {
            if self.zeros > 0 {
                let length = usize::try_from(self.zeros).unwrap_or(usize::MAX).min(ZEROS.len());
                self.zeros -= u64::try_from(length).unwrap_or(0);
                return Some(Bytes::from_static(&ZEROS).split_to(length));
            }
            if self.waiting.is_empty() {
                return None;
            }
            if self.bytes > 0 {
                let most = usize::try_from(self.bytes).unwrap_or(usize::MAX);
                let some = self.waiting.split_to(most.min(self.waiting.len()));
                self.bytes -= u64::try_from(some.len()).unwrap_or(0);
                return Some(some);
            }
            self.head();
        }
    }

    /// Whether what came ends where a frame ends.
    pub fn is_whole(&self) -> bool {
        self.waiting.is_empty() && self.head.is_empty() && self.zeros == 0 && self.bytes == 0
    }

    fn head(&mut self) {
        let missing = (HEAD - self.head.len()).min(self.waiting.len());
        self.head.extend_from_slice(&self.waiting.split_to(missing));
        if self.head.len() == HEAD {
            let mut head = Bytes::from(std::mem::take(&mut self.head));
            self.zeros = head.get_u32().into();
            self.bytes = head.get_u32().into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `frames` that come in pieces of `step`.
    fn read(frames: &[u8], step: usize) -> (Vec<u8>, bool) {
        let (mut reading, mut all) = (Frames::default(), Vec::new());
        for piece in frames.chunks(step) {
            reading.came(Bytes::copy_from_slice(piece));
            while let Some(some) = reading.take() {
                all.extend_from_slice(&some);
            }
        }
        (all, reading.is_whole())
    }

    #[test]
    fn what_is_framed_is_read_again_however_it_arrives() {
        let mut mixed = vec![7; 300_000];
        mixed[5000..100_000].fill(0);
        mixed[200_000..].fill(0);
        for block in [vec![], vec![0; 262_144], vec![0; 5], vec![1; 262_144], mixed] {
            let frames = framed(&block);
            for step in [1, 7, 4096, frames.len().max(1)] {
                assert_eq!(read(&frames, step), (block.clone(), true), "{} by {step}", block.len());
            }
        }
    }

    #[test]
    fn zeros_take_no_room() {
        assert_eq!(framed(&vec![0; 262_144]).len(), HEAD);
        let mut block = vec![3; 262_144];
        block[4096..200_704].fill(0);
        let room = block.len() - (200_704 - 4096) + 2 * HEAD;
        assert_eq!(framed(&block).len(), room);
    }

    #[test]
    fn what_is_cut_off_is_not_whole_and_large_promises_cost_nothing() {
        let frames = framed(&[5; 5000]);
        for length in [1, 7, 8, 100] {
            assert!(!read(&frames[..length], 3).1, "{length}");
        }
        let mut reading = Frames::default();
        reading.came(Bytes::from_static(&[0xff; HEAD]));
        for _ in 0..10 {
            assert_eq!(reading.take().map(|some| some.len()), Some(ZEROS.len()));
        }
        assert!(!reading.is_whole());
    }
}
