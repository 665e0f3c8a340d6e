//! A capture as a stream of pieces of a pcap file.
//!
//! Guarantees: it ends at the first of its limits (packets, bytes, seconds) with a file that is whole; the process that
//! makes it ends with it, or when its reader goes away. Nothing is stored here: a reader that is slow loses packets, not
//! memory.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use sluice_api::report::CaptureRequest;
use sluice_api::types::LinkName;
use sluice_sys::packet::{FrameSocket, Hear};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::DiagnosticError;
use super::filter::Filter;
use super::reader::Reader;
use super::task::{Take, Task};

/// How much longer than it was asked for a capture may take before it is ended.
const GRACE: Duration = Duration::from_secs(5);

/// A capture that runs.
pub(crate) struct Capture {
    link: LinkName,
    reader: Reader,
    deadline: Instant,
    bytes: usize,
    _turn: OwnedSemaphorePermit,
}

impl Capture {
    pub(super) async fn start(
        link: &LinkName,
        request: &CaptureRequest,
        api: BTreeSet<IpAddr>,
        turn: OwnedSemaphorePermit,
    ) -> Result<Self, DiagnosticError> {
        let seconds = request.seconds.get();
        let bytes = usize::try_from(request.bytes.get()).unwrap_or(usize::MAX);
        let packets = request.packets.get();
        let filter = Filter::new(request, api);
        let take = Task::Capture(Take { filter, packets, bytes, seconds });
        let socket = FrameSocket::open(link, Hear::All)?.duplicate()?;
        let reader = Reader::start(&take, socket).await.map_err(DiagnosticError::Reader)?;
        let deadline = Instant::now() + Duration::from_secs(seconds.into()) + GRACE;
        Ok(Self { link: link.clone(), reader, deadline, bytes, _turn: turn })
    }

    /// The next piece of the file; `None` at its end. What is beyond the limits, which the process keeps itself, is not
    /// passed on.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        match timeout_at(self.deadline, self.reader.piece()).await.ok()? {
            Ok(piece) => {
                let piece = piece?;
                self.bytes = self.bytes.checked_sub(piece.len())?;
                Some(piece)
            }
            Err(error) => {
                tracing::warn!(link = %self.link, %error, "capture ended early");
                None
            }
        }
    }
}
