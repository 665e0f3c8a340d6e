//! A capture as a stream of pieces of a pcap file.
//!
//! Guarantees: it ends at the first of its limits (packets, bytes, seconds) with a file that is whole; the socket is
//! closed when it ends or its reader goes away. Nothing is stored here: a reader that is slow loses packets, not memory.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use sluice_api::report::CaptureRequest;
use sluice_api::types::LinkName;
use sluice_sys::packet::{FrameSocket, Hear, PacketError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::filter::Filter;
use super::pcap;

/// A capture that runs.
pub(crate) struct Capture {
    link: LinkName,
    socket: FrameSocket,
    filter: Filter,
    deadline: Instant,
    packets: u32,
    bytes: usize,
    buffer: Vec<u8>,
    begun: bool,
    _turn: OwnedSemaphorePermit,
}

impl Capture {
    pub(super) fn start(
        link: &LinkName,
        request: &CaptureRequest,
        api: BTreeSet<IpAddr>,
        turn: OwnedSemaphorePermit,
    ) -> Result<Self, PacketError> {
        let socket = FrameSocket::open(link, Hear::All)?;
        let seconds = Duration::from_secs(request.seconds.get().into());
        let bytes = usize::try_from(request.bytes.get()).unwrap_or(usize::MAX);
        Ok(Self {
            link: link.clone(),
            socket,
            filter: Filter::new(request, api),
            deadline: Instant::now() + seconds,
            packets: request.packets.get(),
            bytes: bytes.saturating_sub(pcap::FILE_HEADER),
            buffer: vec![0; pcap::SNAP],
            begun: false,
            _turn: turn,
        })
    }

    /// The next piece of the file; `None` at its end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            return Some(pcap::header().into());
        }
        while self.packets > 0 {
            let received = self.socket.receive(&mut self.buffer);
            let seen = match timeout_at(self.deadline, received).await.ok()? {
                Ok(seen) => seen,
                Err(error) => {
                    // a link that goes down or away ends the capture with what there is
                    tracing::warn!(link = %self.link, %error, "capture ended early");
                    return None;
                }
            };
            let frame = pcap::tagged(self.buffer.get(..seen.taken)?, seen.tag);
            if self.filter.keeps(&frame) {
                let added = frame.len() - seen.taken;
                let record = pcap::record(seen.at, seen.length + added, &frame);
                self.bytes = self.bytes.checked_sub(record.len())?;
                self.packets -= 1;
                return Some(record.into());
            }
        }
        None
    }
}
