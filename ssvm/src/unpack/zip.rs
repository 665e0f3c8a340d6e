//! A zip archive with one member (APPNOTE.TXT 6.3.10), unpacked as it streams by.
//!
//! The directory at the end is not needed: the local header comes first and deflate knows its own end. What is tested at
//! the end is the CRC-32, and that no second member follows.

use async_compression::codecs::{DecodeV2, DeflateDecoder};
use async_compression::core::util::{PartialBuffer, WriteBuffer};
use bytes::Bytes;
use crc32fast::Hasher;

use super::{BLOCK, Compression, UnpackError};

/// Fixed part of a local file header.
const LOCAL: usize = 30;
/// Most bytes kept of what follows the member: data descriptor and directory of one file.
const TAIL: usize = 1 << 17;
/// Flag: encrypted.
const ENCRYPTED: u16 = 1;
/// Flag: sizes follow the data.
const SIZES_FOLLOW: u16 = 1 << 3;
/// Central directory header and its place of the CRC.
const DIRECTORY: &[u8] = b"PK\x01\x02";

pub(super) struct Zip {
    state: State,
    crc: Hasher,
    block: Vec<u8>,
    filled: usize,
}

enum State {
    Header(Vec<u8>),
    Stored { left: u64 },
    Deflated(Box<DeflateDecoder>),
    Tail(Vec<u8>),
}

impl Zip {
    pub(super) fn new() -> Self {
        let state = State::Header(Vec::new());
        Self { state, crc: Hasher::new(), block: vec![0; BLOCK], filled: 0 }
    }

    pub(super) fn push<E: From<UnpackError>>(
        &mut self,
        mut input: &[u8],
        out: &mut impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        while !input.is_empty() {
            input = match &mut self.state {
                State::Header(head) => {
                    let rest = header(head, input)?;
                    if let Some(next) = begin(head)? {
                        self.state = next;
                    }
                    rest
                }
                State::Stored { left } => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    let (data, rest) = input.split_at(take);
                    *left -= u64::try_from(take).unwrap_or(0);
                    if *left == 0 {
                        self.state = State::Tail(Vec::new());
                    }
                    self.crc.update(data);
                    for piece in data.chunks(BLOCK) {
                        out(Bytes::copy_from_slice(piece))?;
                    }
                    rest
                }
                State::Deflated(_) => self.inflate(input, out)?,
                State::Tail(tail) => {
                    if tail.len() + input.len() > TAIL {
                        return Err(UnpackError::Zip("too much follows its member").into());
                    }
                    tail.extend_from_slice(input);
                    &[]
                }
            };
        }
        Ok(())
    }

    fn inflate<'a, E: From<UnpackError>>(
        &mut self,
        input: &'a [u8],
        out: &mut impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<&'a [u8], E> {
        let State::Deflated(decoder) = &mut self.state else { return Ok(input) };
        let mut taken = PartialBuffer::new(input);
        let mut buffer = WriteBuffer::new_initialized(&mut self.block);
        buffer.advance(self.filled);
        let done = decoder.decode(&mut taken, &mut buffer);
        self.filled = buffer.written_len();
        let done =
            done.map_err(|source| UnpackError::Broken { compression: Compression::Zip, source })?;
        if done {
            self.state = State::Tail(Vec::new());
        }
        if done || self.filled == BLOCK {
            self.emit(out)?;
        }
        Ok(input.get(taken.written_len()..).unwrap_or_default())
    }

    fn emit<E: From<UnpackError>>(
        &mut self,
        out: &mut impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut full = std::mem::replace(&mut self.block, vec![0; BLOCK]);
        full.truncate(self.filled);
        self.filled = 0;
        self.crc.update(&full);
        if full.is_empty() { Ok(()) } else { out(full.into()) }
    }

    pub(super) fn finish<E: From<UnpackError>>(
        &mut self,
        _out: &mut impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        let State::Tail(tail) = &self.state else {
            return Err(UnpackError::CutOff { compression: Compression::Zip }.into());
        };
        Ok(self.closes(tail)?)
    }

    /// The directory must list this member alone.
    fn closes(&self, tail: &[u8]) -> Result<(), UnpackError> {
        let at = |mark: &[u8]| tail.windows(mark.len()).position(|window| window == mark);
        let Some(directory) = at(DIRECTORY) else {
            return Err(UnpackError::CutOff { compression: Compression::Zip });
        };
        // a data descriptor has at most 24 bytes; a further member would stand in between
        if directory > 24 {
            return Err(UnpackError::Zip("it has more than one member"));
        }
        let crc = tail.get(directory + 16..directory + 20).and_then(|b| b.try_into().ok());
        if crc.map(u32::from_le_bytes) != Some(self.crc.clone().finalize()) {
            return Err(UnpackError::Zip("the checksum of its member is wrong"));
        }
        Ok(())
    }
}

/// Collects the local header with name and extra field; returns what follows.
fn header<'a>(head: &mut Vec<u8>, mut input: &'a [u8]) -> Result<&'a [u8], UnpackError> {
    for _ in 0..2 {
        let wanted = if head.len() < LOCAL { LOCAL } else { length(head) };
        let take = wanted.saturating_sub(head.len()).min(input.len());
        let (taken, rest) = input.split_at(take);
        head.extend_from_slice(taken);
        input = rest;
    }
    if head.len() >= 4 && !head.starts_with(b"PK\x03\x04") {
        return Err(UnpackError::Zip("it does not begin with a member"));
    }
    Ok(input)
}

fn length(head: &[u8]) -> usize {
    LOCAL + usize::from(u16_at(head, 26)) + usize::from(u16_at(head, 28))
}

/// What follows the header, when it is whole.
fn begin(head: &[u8]) -> Result<Option<State>, UnpackError> {
    if head.len() < LOCAL || head.len() < length(head) {
        return Ok(None);
    }
    let (flags, method) = (u16_at(head, 6), u16_at(head, 8));
    if flags & ENCRYPTED != 0 {
        return Err(UnpackError::Zip("its member is encrypted"));
    }
    match method {
        8 => Ok(Some(State::Deflated(Box::new(DeflateDecoder::new())))),
        0 if flags & SIZES_FOLLOW != 0 => {
            Err(UnpackError::Zip("its member is stored without a size in front"))
        }
        0 => stored(head).map(Some),
        _ => Err(UnpackError::Zip("its member is compressed with neither deflate nor nothing")),
    }
}

/// A stored member of the size that the header says, or its zip64 field (APPNOTE 4.5.3).
fn stored(head: &[u8]) -> Result<State, UnpackError> {
    let short = head.get(22..26).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    let left = if short == u32::MAX { long(head) } else { Some(u64::from(short)) };
    match left {
        Some(0) | None => Err(UnpackError::Zip("its member has no size")),
        Some(left) => Ok(State::Stored { left }),
    }
}

fn long(head: &[u8]) -> Option<u64> {
    let mut extra = head.get(LOCAL + usize::from(u16_at(head, 26))..)?;
    while extra.len() >= 4 {
        let (id, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        if id == 1 {
            return extra.get(4..12).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        }
        extra = extra.get(4 + length..)?;
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}
