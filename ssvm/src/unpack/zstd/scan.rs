//! Follows a zstd stream block by block and finds places in it.

use super::MAGIC;
use super::blocks::Tables;
use super::restart::Place;
use super::sequences::{self, FIRST, Repeats};

/// Largest block (RFC 8878 3.1.1.2.4).
const BLOCK_MOST: usize = 128 << 10;
/// Magic numbers of skippable frames (RFC 8878 3.1.2), the last digit aside.
const SKIPPABLE: u32 = 0x184d_2a50;

/// Where in the stream it is.
enum At {
    /// At the start of a frame.
    Frame,
    /// Among so many bytes that mean nothing here.
    Skip { left: u64, then: Then },
    /// At the header of a block.
    Block,
    /// In a compressed block of so many bytes.
    Compressed { length: usize, last: bool },
    /// It cannot be followed any more.
    Lost,
}

#[derive(Clone, Copy)]
enum Then {
    Frame,
    Block,
    /// The frame's checksum.
    Checksum,
}

/// What is known of the frame.
#[derive(Clone, Default)]
struct Frame {
    window: u64,
    checksum: bool,
    tables: Tables,
    repeats: Repeats,
}

/// Follows a stream.
pub struct Scanner {
    at: At,
    /// Bytes of what is being looked at.
    waiting: Vec<u8>,
    frame: Frame,
    wanted: bool,
}

impl Default for Scanner {
    /// At the start of a stream.
    fn default() -> Self {
        Self { at: At::Frame, waiting: Vec::new(), frame: Frame::default(), wanted: false }
    }
}

impl Scanner {
    /// At `place`.
    pub fn at(place: &Place) -> Self {
        let (window, checksum) = (place.window(), place.checksum());
        let frame = Frame { window, checksum, tables: place.tables(), repeats: place.repeats() };
        Self { at: At::Block, waiting: Vec::new(), frame, wanted: false }
    }

    /// The next place is to be told.
    pub const fn want(&mut self) {
        self.wanted = true;
    }

    /// Follows `bytes`: up to a place that was wanted, which is then told together with how many bytes lie before it, or to
    /// their end.
    pub fn scan(&mut self, bytes: &[u8]) -> (usize, Option<Place>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = rest.len();
            match self.step(&mut rest) {
                Some(true) if self.wanted => {
                    if let Some(place) = self.place() {
                        self.wanted = false;
                        return (bytes.len() - rest.len(), Some(place));
                    }
                }
                Some(_) => {}
                None => {
                    self.at = At::Lost;
                    self.waiting = Vec::new();
                }
            }
            if matches!(self.at, At::Lost) || rest.len() == before && rest.is_empty() {
                break;
            }
        }
        (bytes.len(), None)
    }

    /// One step; whether a block ended that is not the last of its frame. None: the stream cannot be followed.
    fn step(&mut self, rest: &mut &[u8]) -> Option<bool> {
        match self.at {
            At::Lost => return None,
            At::Frame => self.frame(rest)?,
            At::Skip { left, then } => return Some(self.skip(rest, left, then)),
            At::Block => return self.block(rest),
            At::Compressed { length, last } => return self.compressed(rest, length, last),
        }
        Some(false)
    }

    /// Gathers until `length` bytes are waiting; whether they are.
    fn gather(&mut self, rest: &mut &[u8], length: usize) -> bool {
        let take = length.saturating_sub(self.waiting.len()).min(rest.len());
        let (taken, after) = rest.split_at(take);
        self.waiting.extend_from_slice(taken);
        *rest = after;
        self.waiting.len() >= length
    }

    fn frame(&mut self, rest: &mut &[u8]) -> Option<()> {
        if !self.gather(rest, 5) {
            return Some(());
        }
        let number = u32::from_le_bytes(*self.waiting.first_chunk()?);
        if number & !0xf == SKIPPABLE {
            if self.gather(rest, 8) {
                let length = u32::from_le_bytes(*self.waiting.get(4..)?.first_chunk()?);
                self.waiting.clear();
                self.at = At::Skip { left: length.into(), then: Then::Frame };
            }
            return Some(());
        }
        if !self.waiting.starts_with(&MAGIC) {
            return None;
        }
        let descriptor = *self.waiting.get(4)?;
        let single = descriptor & 0x20 != 0;
        let size = match (descriptor >> 6, single) {
            (0, false) => 0,
            (0, true) => 1,
            (width, _) => 1 << width,
        };
        // a dictionary is not here, and a reserved bit is none of today's
        if descriptor & 0b1011 != 0 {
            return None;
        }
        if !self.gather(rest, 5 + usize::from(!single) + size) {
            return Some(());
        }
        self.begin(single, size, descriptor & 4 != 0)
    }

    fn begin(&mut self, single: bool, size: usize, checksum: bool) -> Option<()> {
        let window = if single {
            let mut bytes = [0; 8];
            bytes.get_mut(..size)?.copy_from_slice(self.waiting.get(5..)?);
            u64::from_le_bytes(bytes) + if size == 2 { 256 } else { 0 }
        } else {
            let descriptor = *self.waiting.get(5)?;
            let base = 1_u64 << (10 + (descriptor >> 3));
            base + base / 8 * u64::from(descriptor & 7)
        };
        self.frame = Frame { window, checksum, tables: Tables::default(), repeats: FIRST };
        self.waiting.clear();
        self.at = At::Block;
        Some(())
    }

    fn skip(&mut self, rest: &mut &[u8], left: u64, then: Then) -> bool {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        *rest = rest.get(take..).unwrap_or_default();
        let left = left - u64::try_from(take).unwrap_or(left);
        if left > 0 {
            self.at = At::Skip { left, then };
            return false;
        }
        match then {
            Then::Frame => self.at = At::Frame,
            Then::Block => self.at = At::Block,
            Then::Checksum => self.end_frame(),
        }
        matches!(then, Then::Block)
    }

    fn end_frame(&mut self) {
        self.at =
            if self.frame.checksum { At::Skip { left: 4, then: Then::Frame } } else { At::Frame };
    }

    fn block(&mut self, rest: &mut &[u8]) -> Option<bool> {
        if !self.gather(rest, 3) {
            return Some(false);
        }
        let [a, b, c] = *self.waiting.first_chunk()?;
        self.waiting.clear();
        let header = u32::from_le_bytes([a, b, c, 0]);
        let (last, length) = (header & 1 == 1, header >> 3);
        let then = if last { Then::Checksum } else { Then::Block };
        match header >> 1 & 3 {
            0 if length == 0 => {
                self.at = At::Block;
                if last {
                    self.end_frame();
                }
            }
            0 => self.at = At::Skip { left: length.into(), then },
            1 => self.at = At::Skip { left: 1, then },
            2 => {
                let length = usize::try_from(length).ok().filter(|l| *l <= BLOCK_MOST)?;
                self.at = At::Compressed { length, last };
            }
            _ => return None,
        }
        Some(false)
    }

    fn compressed(&mut self, rest: &mut &[u8], length: usize, last: bool) -> Option<bool> {
        if !self.gather(rest, length) {
            return Some(false);
        }
        let block = std::mem::take(&mut self.waiting);
        let sequences = self.frame.tables.take(&block)?;
        // read only when somebody wants to know; offsets that were not followed are not known
        self.frame.repeats = if self.wanted {
            sequences::after(self.frame.repeats, &sequences, &self.frame.tables)?
        } else if sequences.count == 0 {
            self.frame.repeats
        } else {
            [None; 3]
        };
        self.waiting = block;
        self.waiting.clear();
        if last {
            self.end_frame();
        } else {
            self.at = At::Block;
        }
        Some(!last)
    }

    /// The place here, if all that it needs is known.
    fn place(&self) -> Option<Place> {
        let Frame { window, checksum, tables, repeats } = &self.frame;
        Place::new(*window, *checksum, tables, *repeats)
    }
}
