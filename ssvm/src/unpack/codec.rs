//! Compressed streams of one or more members, over the push decoders of `compression-codecs`.

use async_compression::codecs::DecodeV2;
use async_compression::core::util::{PartialBuffer, WriteBuffer};
use bytes::Bytes;

use super::zstd::Place;
use super::{BLOCK, Compression, UnpackError};

/// A decoder, and the block that it is filling.
pub(super) struct Members {
    compression: Compression,
    decoder: Box<dyn DecodeV2 + Send>,
    block: Vec<u8>,
    filled: usize,
    state: State,
    resumed: Option<Resumed>,
}

/// A frame that was entered in its middle: its decoder is no use for those after it.
struct Resumed {
    /// Bytes of the frame's checksum that are still to come: it is of the whole frame and cannot be compared.
    checksum: usize,
    /// Makes the decoder for what follows.
    next: Box<dyn FnOnce() -> Box<dyn DecodeV2 + Send> + Send>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Inside a member.
    Inside,
    /// At the end of one; another may follow.
    Between,
    /// In the zeros that tapes and some tools put behind the last gzip member.
    Padding,
}

impl Members {
    pub(super) fn new(compression: Compression, decoder: Box<dyn DecodeV2 + Send>) -> Self {
        let block = vec![0; BLOCK];
        Self { compression, decoder, block, filled: 0, state: State::Inside, resumed: None }
    }

    /// A zstd frame from `place` on, and what follows it by the decoder that `next` makes.
    pub(super) fn resume(
        decoder: Box<dyn DecodeV2 + Send>,
        place: &Place,
        next: Box<dyn FnOnce() -> Box<dyn DecodeV2 + Send> + Send>,
    ) -> Self {
        let resumed = Resumed { checksum: place.checksum_length(), next };
        Self { resumed: Some(resumed), ..Self::new(Compression::Zstd, decoder) }
    }

    pub(super) fn drain<E: From<UnpackError>>(
        &mut self,
        out: &mut impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.filled > 0 { out(self.take()) } else { Ok(()) }
    }

    pub(super) fn push<E: From<UnpackError>>(
        &mut self,
        input: &[u8],
        out: &mut impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut input = PartialBuffer::new(input);
        loop {
            if !self.ready(&mut input)? {
                return Ok(());
            }
            let full = self.step(&mut input)?;
            if full {
                out(self.take())?;
            }
            // zstd alone may hold back output of input that it has taken, and may be asked again without any
            let asks_again = full && self.compression == Compression::Zstd;
            if input.unwritten().is_empty() && !asks_again {
                return Ok(());
            }
        }
    }

    pub(super) fn finish<E: From<UnpackError>>(
        &mut self,
        out: &mut impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        while self.state == State::Inside {
            let before = self.filled;
            let mut buffer = writable(&mut self.block, self.filled);
            let done = self.decoder.finish(&mut buffer).unwrap_or(false);
            self.filled = buffer.written_len();
            if done {
                self.state = State::Between;
            } else if self.filled == before {
                return Err(UnpackError::CutOff { compression: self.compression }.into());
            }
            out(self.take())?;
        }
        if self.resumed.as_ref().is_some_and(|resumed| resumed.checksum > 0) {
            return Err(UnpackError::CutOff { compression: self.compression }.into());
        }
        self.drain(out)
    }

    /// Begins the next member if there is one; false when nothing is to be decoded.
    fn ready(&mut self, input: &mut PartialBuffer<&[u8]>) -> Result<bool, UnpackError> {
        if self.state == State::Inside {
            return Ok(true);
        }
        if let Some(resumed) = &mut self.resumed {
            let skipped = resumed.checksum.min(input.unwritten().len());
            input.advance(skipped);
            resumed.checksum -= skipped;
            if resumed.checksum > 0 {
                return Ok(false);
            }
        }
        let Some(first) = input.unwritten().first().copied() else { return Ok(false) };
        if let Some(resumed) = self.resumed.take() {
            self.decoder = (resumed.next)();
            self.state = State::Inside;
            return Ok(true);
        }
        if self.state == State::Padding || (first == 0 && self.compression == Compression::Gzip) {
            self.state = State::Padding;
            if input.unwritten().iter().all(|byte| *byte == 0) {
                return Ok(false);
            }
            return Err(self.broken(std::io::Error::other("something follows the padding")));
        }
        self.decoder.reinit().map_err(|error| self.broken(error))?;
        self.state = State::Inside;
        Ok(true)
    }

    /// Decodes until the block is full, which is the answer, or the input is used up.
    fn step(&mut self, input: &mut PartialBuffer<&[u8]>) -> Result<bool, UnpackError> {
        let mut buffer = writable(&mut self.block, self.filled);
        let done = self.decoder.decode(input, &mut buffer);
        self.filled = buffer.written_len();
        match done {
            Ok(true) => self.state = State::Between,
            Ok(false) => {}
            Err(error) => return Err(self.broken(error)),
        }
        Ok(self.filled == BLOCK)
    }

    fn take(&mut self) -> Bytes {
        let mut full = std::mem::replace(&mut self.block, vec![0; BLOCK]);
        full.truncate(self.filled);
        self.filled = 0;
        full.into()
    }

    fn broken(&self, source: std::io::Error) -> UnpackError {
        UnpackError::Broken { compression: self.compression, source }
    }
}

fn writable(block: &mut [u8], filled: usize) -> WriteBuffer<'_> {
    let mut buffer = WriteBuffer::new_initialized(block);
    buffer.advance(filled);
    buffer
}
