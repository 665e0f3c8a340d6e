//! Where a wire's port ends: a QEMU NIC behind a Unix datagram socket, a TAP device, or a channel.
//!
//! Guarantees: one datagram or read is one frame; a peer that is off or slow costs frames, never
//! the wire's time (a send waits at most [`SEND_BOUND`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluice_sys::tap::{AsyncTap, TapDevice};
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;

/// Largest frame a port takes: what QEMU's datagram netdev sends at most.
const FRAME_LIMIT: usize = 65_535;
/// A machine that takes longer than this to drain its socket loses the frame, as a NIC would.
const SEND_BOUND: Duration = Duration::from_millis(250);
/// Frames a channel port holds in each direction.
const CHANNEL_LIMIT: usize = 1024;

/// Both directions of a port.
#[derive(Debug)]
pub struct PortIo {
    /// Frames the station sends.
    pub reader: PortReader,
    /// Frames for the station.
    pub writer: PortWriter,
}

/// The receiving half.
#[derive(Debug)]
pub enum PortReader {
    /// A QEMU `-netdev dgram`.
    Datagram(Arc<UnixDatagram>),
    /// A TAP device.
    Tap(Arc<AsyncTap>),
    /// The program itself.
    Channel(mpsc::Receiver<Bytes>),
}

/// The sending half.
#[derive(Debug)]
pub enum PortWriter {
    /// A QEMU `-netdev dgram`, which listens at this path while its machine runs.
    Datagram(Arc<UnixDatagram>, PathBuf),
    /// A TAP device.
    Tap(Arc<AsyncTap>),
    /// The program itself.
    Channel(mpsc::Sender<Bytes>),
}

impl PortIo {
    /// A port for a QEMU NIC: frames come to `ours`, and go to `theirs` while something is there.
    pub fn datagram(ours: &Path, theirs: &Path) -> io::Result<Self> {
        match std::fs::remove_file(ours) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = Arc::new(UnixDatagram::bind(ours)?);
        Ok(Self {
            reader: PortReader::Datagram(socket.clone()),
            writer: PortWriter::Datagram(socket, theirs.to_owned()),
        })
    }

    /// A port on a TAP device, on the current async runtime.
    pub fn tap(device: TapDevice) -> io::Result<Self> {
        let device = Arc::new(AsyncTap::new(device)?);
        Ok(Self { reader: PortReader::Tap(device.clone()), writer: PortWriter::Tap(device) })
    }

    /// A port whose station is this program: send frames into the sender, take them from the
    /// receiver. Dropping the sender ends the port's input.
    pub fn channel() -> (Self, mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
        let (to_wire, reader) = mpsc::channel(CHANNEL_LIMIT);
        let (writer, from_wire) = mpsc::channel(CHANNEL_LIMIT);
        let io = Self { reader: PortReader::Channel(reader), writer: PortWriter::Channel(writer) };
        (io, to_wire, from_wire)
    }
}

impl PortReader {
    /// The next frame; `None` when the station is gone for good.
    /// `buffer` is scratch space that the caller keeps, so that no frame costs an allocation of
    /// the largest size.
    pub async fn recv(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<Bytes>> {
        buffer.resize(FRAME_LIMIT, 0);
        let length = match self {
            Self::Channel(receiver) => return Ok(receiver.recv().await),
            Self::Datagram(socket) => socket.recv(buffer).await?,
            Self::Tap(device) => device.recv(buffer).await?,
        };
        Ok(Some(Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default())))
    }
}

impl PortWriter {
    /// Sends one frame. False when the station did not take it.
    pub async fn send(&self, frame: Bytes) -> bool {
        match tokio::time::timeout(SEND_BOUND, self.try_send(frame)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::trace!(%error, "frame not taken");
                false
            }
            Err(_elapsed) => false,
        }
    }

    async fn try_send(&self, frame: Bytes) -> io::Result<()> {
        match self {
            Self::Datagram(socket, peer) => socket.send_to(&frame, peer).await.map(drop),
            Self::Tap(device) => device.send(&frame).await,
            Self::Channel(sender) => {
                sender.send(frame).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
            }
        }
    }
}
