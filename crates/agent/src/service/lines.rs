//! What the agent says, line by line. It carries secrets: where a line was read, and where it grew, nothing of it is left
//! once it is dropped.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use zeroize::Zeroizing;

/// Bytes taken from the agent at once; slices of thousands of guests are a megabyte.
const READ_AT_ONCE: usize = 1 << 16;

/// Lines of a channel.
pub(super) struct Lines<R> {
    reader: R,
    /// What was read and not taken, then room.
    bytes: Zeroizing<Vec<u8>>,
    filled: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, bytes: Zeroizing::default(), filled: 0 }
    }

    /// The next line without its end; `None` when there is none, since half a word is none. What was read so far is kept
    /// when the caller stops waiting.
    pub(super) async fn next(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let mut looked = 0;
        loop {
            let fresh = self.bytes.get(looked..self.filled).unwrap_or_default();
            // whether there is one is found out much faster than where
            if fresh.contains(&b'\n')
                && let Some(end) = fresh.iter().position(|byte| *byte == b'\n')
            {
                return Ok(Some(self.take(looked + end)));
            }
            looked = self.filled;
            self.make_room();
            let room = self.bytes.get_mut(self.filled..).unwrap_or_default();
            match self.reader.read(room).await? {
                0 => return Ok(None),
                count => self.filled += count,
            }
        }
    }

    /// What was read up to `end`, after which a line ends.
    fn take(&mut self, end: usize) -> Zeroizing<Vec<u8>> {
        let rest = self.bytes.get(end + 1..self.filled).unwrap_or_default();
        let rest = Zeroizing::new(rest.to_vec());
        self.filled = rest.len();
        let mut line = std::mem::replace(&mut self.bytes, rest);
        // what is behind its end is wiped with it
        line.truncate(end);
        line
    }

    fn make_room(&mut self) {
        if self.filled < self.bytes.len() {
            return;
        }
        let mut larger = Zeroizing::new(vec![0; (2 * self.filled).max(READ_AT_ONCE)]);
        if let Some(front) = larger.get_mut(..self.filled) {
            front.copy_from_slice(&self.bytes);
        }
        self.bytes = larger;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut lines: Lines<impl AsyncRead + Unpin>) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line.to_vec());
        }
        all
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_cut() {
        let long = vec![b'x'; 3 * READ_AT_ONCE + 7];
        let text = [b"one\n\ntwo\n".as_slice(), &long, b"\nhalf a wo"].concat();
        let expected = [b"one".to_vec(), Vec::new(), b"two".to_vec(), long];
        assert_eq!(all(Lines::new(text.as_slice())).await, expected);
        // one byte at a time, and a hundred
        for size in [1, 100] {
            let (reader, mut writer) = tokio::io::duplex(size);
            let text = text.clone();
            let writing = tokio::spawn(async move {
                use tokio::io::AsyncWriteExt as _;
                writer.write_all(&text).await.unwrap();
            });
            assert_eq!(all(Lines::new(reader)).await, expected, "{size} at a time");
            writing.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_was_read_is_kept_when_nobody_waits_any_more() {
        use tokio::io::AsyncWriteExt as _;
        let (reader, mut writer) = tokio::io::duplex(64);
        let mut lines = Lines::new(reader);
        writer.write_all(b"half ").await.unwrap();
        let late = tokio::time::timeout(std::time::Duration::from_millis(1), lines.next());
        assert!(late.await.is_err());
        writer.write_all(b"a word\n").await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap().as_slice(), b"half a word");
    }
}
