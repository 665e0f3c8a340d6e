//! Carries the agent's output to the consoles, line by line, without ever letting a slow console stop the agent for long.

use std::os::fd::OwnedFd;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc::Sender;

/// A line longer than this is cut, so that memory stays bounded.
const MAX_LINE: u64 = 4096;

/// Sends each line of a pipe to `lines` until the other end closes. Lines that find no room are dropped: the agent keeps
/// its own log, the console is only a view of it.
pub(crate) fn forward(pipe: impl Into<OwnedFd>, lines: Sender<String>) -> std::io::Result<()> {
    let receiver = Receiver::from_owned_fd(pipe.into())?;
    tokio::spawn(async move {
        let mut reader = BufReader::new(receiver);
        while let Some(line) = next_line(&mut reader).await {
            let _ = lines.try_send(line);
        }
    });
    Ok(())
}

async fn next_line(reader: &mut BufReader<Receiver>) -> Option<String> {
    let mut bytes = Vec::new();
    let count = reader.take(MAX_LINE).read_until(b'\n', &mut bytes).await.ok()?;
    (count > 0).then(|| printable(&bytes))
}

/// Control characters could rewrite what the console shows.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end().chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_cannot_be_rewritten() {
        assert_eq!(printable(b"a\x1b[2Jb\tc\r\n"), "a?[2Jb\tc");
        assert_eq!(printable(b"\xff\n"), "\u{fffd}");
    }
}
