//! `capture`: a wire's frames into a pcap file or a pipe.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::daemon::Client;
use crate::wire::PcapReader;

pub(super) async fn capture(
    client: &Client,
    wire: &str,
    seconds: Option<u64>,
    output: &Path,
) -> Result<()> {
    let stream = client.capture(wire).await?;
    let end = enough(seconds);
    if output == Path::new("-") {
        return copy(stream, std::io::stdout(), end).await;
    }
    let create = || format!("cannot write {}", output.display());
    let file = File::create(output).with_context(create)?;
    eprintln!("capturing {wire} into {}{}", output.display(), hint(seconds));
    copy(stream, file, end).await?;
    eprintln!("{} frames in {}", frames_in(output)?, output.display());
    Ok(())
}

fn hint(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "; Ctrl-C ends it".to_owned(), |s| format!(" for {s} s"))
}

async fn enough(seconds: Option<u64>) {
    let interrupted = tokio::signal::ctrl_c();
    match seconds {
        None => drop(interrupted.await),
        Some(seconds) => {
            drop(tokio::time::timeout(Duration::from_secs(seconds), interrupted).await);
        }
    }
}

/// Copies until `end`, then tells the lab to send what is left, and copies that.
async fn copy(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    mut output: impl Write,
    end: impl Future<Output = ()>,
) -> Result<()> {
    let (mut frames, mut stop) = tokio::io::split(stream);
    let mut end = std::pin::pin!(end);
    let mut ended = false;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            read = frames.read(&mut buffer) => {
                let read = read.context("the lab ended the capture")?;
                let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
                output.write_all(bytes).context("cannot write the capture")?;
            }
            () = &mut end, if !ended => {
                ended = true;
                stop.shutdown().await.context("cannot end the capture")?;
            }
        }
    }
    output.flush().context("cannot write the capture")
}

fn frames_in(path: &Path) -> Result<u64> {
    let mut reader = PcapReader::new(std::io::BufReader::new(File::open(path)?))?;
    let mut frames = 0;
    while reader.next_frame()?.is_some() {
        frames += 1;
    }
    Ok(frames)
}
