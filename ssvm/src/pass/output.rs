//! A file that grows from its start, with holes where the bytes are zero.

use std::sync::Arc;

use super::error::PassError;
use crate::disk::File;

/// Smallest hole; file systems keep whole blocks of this size.
const HOLE: usize = 4096;
const ZEROS: [u8; HOLE] = [0; HOLE];

/// The file.
pub(crate) struct Output {
    file: Arc<dyn File>,
    /// Length that it will have.
    length: u64,
    /// Bytes written, holes left out.
    written: u64,
}

impl Output {
    /// Keeps the first `length` bytes of `file` and nothing after them.
    ///
    /// Errors: it has fewer, or cannot be cut.
    pub(crate) fn new(file: Arc<dyn File>, length: u64) -> Result<Self, PassError> {
        let found = file.length().map_err(PassError::disk("looking at the part"))?;
        if found < length {
            let less = std::io::Error::other(format!("it has {found} of {length} bytes"));
            return Err(PassError::disk("taking up the part")(less));
        }
        if found > length {
            file.set_length(length).map_err(PassError::disk("cutting the part"))?;
        }
        Ok(Self { file, length, written: 0 })
    }

    /// Writes `bytes` at `at`, which is the end so far.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), PassError> {
        let mut offset = 0;
        for run in runs(at, bytes) {
            let start = at + u64::try_from(offset).unwrap_or(0);
            offset += run.len();
            if !zero(run) {
                self.file.write_at(start, run).map_err(PassError::disk("writing the part"))?;
                self.written += u64::try_from(run.len()).unwrap_or(0);
            }
        }
        self.length = at + u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }

    /// The file.
    pub(crate) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Its length, the last hole included.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Bytes written, holes left out.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Gives the file its length and returns it, so that somebody else makes durable what was written so far.
    pub(crate) fn whole_file(&mut self) -> Result<Arc<dyn File>, PassError> {
        self.complete()?;
        Ok(Arc::clone(&self.file))
    }

    /// Makes what was written durable, its length included.
    pub(crate) fn sync(&mut self) -> Result<(), PassError> {
        self.complete()?;
        self.file.sync().map_err(PassError::disk("making the part durable"))
    }

    /// Drops what is behind `length`.
    pub(crate) fn cut(&mut self, length: u64) -> Result<(), PassError> {
        self.length = self.length.min(length);
        self.file.set_length(self.length).map_err(PassError::disk("cutting the part"))
    }

    /// Gives the file its length, which a hole at its end does not do; returns it.
    pub(crate) fn complete(&mut self) -> Result<u64, PassError> {
        let found = self.file.length().map_err(PassError::disk("looking at the part"))?;
        if found != self.length {
            self.file.set_length(self.length).map_err(PassError::disk("growing the part"))?;
        }
        Ok(self.length)
    }
}

fn zero(run: &[u8]) -> bool {
    run.chunks(HOLE).all(|piece| ZEROS.starts_with(piece))
}

/// Cuts `bytes`, which stand at `at`, where zeros begin and end; only whole aligned blocks become holes.
fn runs(at: u64, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut first = true;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let misaligned = usize::try_from(at % HOLE as u64).unwrap_or(0);
        let head = if first { (HOLE - misaligned) % HOLE } else { 0 };
        first = false;
        let length = run_length(rest, head.min(rest.len()));
        let (run, after) = rest.split_at(length);
        rest = after;
        Some(run)
    })
}

/// Length of the run that begins `rest`: all blocks of its first kind; `head` bytes before the first block boundary are a
/// run of their own.
fn run_length(rest: &[u8], head: usize) -> usize {
    if head > 0 {
        return head;
    }
    let mut blocks = rest.chunks(HOLE).map(|block| block.len() == HOLE && zero(block));
    let kind = blocks.next().unwrap_or(false);
    let same = blocks.take_while(|other| *other == kind).count();
    rest.len().min((same + 1) * HOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(at: u64, bytes: &[u8]) -> Vec<(usize, bool)> {
        runs(at, bytes).map(|run| (run.len(), zero(run))).collect()
    }

    #[test]
    fn runs_are_cut_where_zeros_begin_and_end() {
        let mut bytes = vec![0; 5 * HOLE];
        bytes[0] = 1;
        bytes[2 * HOLE - 1] = 1;
        assert_eq!(lengths(0, &bytes), [(2 * HOLE, false), (3 * HOLE, true)]);
        assert_eq!(lengths(0, &[]), []);
        assert_eq!(lengths(0, &[0; 10]), [(10, true)]);
    }

    #[test]
    fn blocks_are_those_of_the_file_and_not_of_what_arrives() {
        let bytes = vec![0; 2 * HOLE];
        assert_eq!(lengths(100, &bytes), [(HOLE - 100, true), (HOLE, true), (100, true)]);
        let ones = vec![1; 2 * HOLE];
        assert_eq!(lengths(100, &ones), [(HOLE - 100, false), (HOLE + 100, false)]);
    }
}
