//! What a wire carried, frame by frame, as a trunk would see it.
//!
//! Guarantees: frames in the order the wire carried them, with their VLAN tag. A consumer that is
//! slower than the wire loses frames and learns how many; the wire never waits for it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::frame::Frame;
use super::pcap::PcapWriter;
use super::switch::PortId;

/// Frames a capture holds until they are taken.
const CAPTURE_LIMIT: usize = 8192;

/// One frame and when it passed.
#[derive(Debug, Clone)]
pub struct CapturedFrame {
    /// Since the Unix epoch.
    pub time: Duration,
    /// The port it came in by.
    pub from: PortId,
    /// The frame.
    pub bytes: Bytes,
}

/// Why a capture ended without what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// No frame matched in time.
    #[error("none of the {seen} frames within {bound:?} was the awaited one")]
    NoMatch {
        /// Frames that passed.
        seen: usize,
        /// How long was waited.
        bound: Duration,
    },
    /// The capture file cannot be written.
    #[error("cannot write the capture file {path}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A running capture; ends when dropped.
#[derive(Debug)]
pub struct Capture {
    frames: mpsc::Receiver<CapturedFrame>,
    missed: Arc<AtomicU64>,
}

/// The wire's end of a capture.
#[derive(Debug)]
pub(super) struct Tee {
    frames: mpsc::Sender<CapturedFrame>,
    missed: Arc<AtomicU64>,
}

pub(super) fn pair() -> (Tee, Capture) {
    let (sender, frames) = mpsc::channel(CAPTURE_LIMIT);
    let missed = Arc::new(AtomicU64::new(0));
    (Tee { frames: sender, missed: missed.clone() }, Capture { frames, missed })
}

impl Tee {
    /// Hands a frame over. False when nobody listens any more.
    pub(super) fn record(&self, from: PortId, bytes: &Bytes) -> bool {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let time = since_epoch.unwrap_or_default();
        let frame = CapturedFrame { time, from, bytes: bytes.clone() };
        match self.frames.try_send(frame) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.missed.fetch_add(1, Ordering::Relaxed);
                true
            }
        }
    }
}

impl Capture {
    /// The next frame, waited for up to `bound`. `None` when none came or the wire is gone.
    pub async fn next(&mut self, bound: Duration) -> Option<CapturedFrame> {
        tokio::time::timeout(bound, self.frames.recv()).await.ok().flatten()
    }

    /// The next frame, however long it takes. `None` when the wire is gone.
    pub async fn frame(&mut self) -> Option<CapturedFrame> {
        self.frames.recv().await
    }

    /// Frames lost because nobody took them in time.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Everything that passed so far and was not taken yet.
    pub fn drain(&mut self) -> Vec<CapturedFrame> {
        std::iter::from_fn(|| self.frames.try_recv().ok()).collect()
    }

    /// Waits for the first frame that `wanted` accepts; frames before it are dropped.
    pub async fn until(
        &mut self,
        bound: Duration,
        mut wanted: impl FnMut(&Frame<'_>) -> bool,
    ) -> Result<CapturedFrame, CaptureError> {
        let end = Instant::now() + bound;
        let mut seen = 0;
        while let Some(frame) = self.next(end.saturating_duration_since(Instant::now())).await {
            seen += 1;
            if Frame::parse(&frame.bytes).is_some_and(|parsed| wanted(&parsed)) {
                return Ok(frame);
            }
        }
        Err(CaptureError::NoMatch { seen, bound })
    }

    /// Writes what passes within `bound` to a pcap file; returns the number of frames.
    pub async fn write_file(mut self, path: &Path, bound: Duration) -> Result<u64, CaptureError> {
        let failed = |source| CaptureError::File { path: path.display().to_string(), source };
        let file = std::fs::File::create(path).map_err(failed)?;
        let mut pcap = PcapWriter::new(file).map_err(failed)?;
        let end = Instant::now() + bound;
        let mut frames = 0;
        while let Some(frame) = self.next(end.saturating_duration_since(Instant::now())).await {
            pcap.write(frame.time, &frame.bytes).map_err(failed)?;
            frames += 1;
        }
        Ok(frames)
    }
}
