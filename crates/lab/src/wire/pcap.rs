//! Capture files in the classic pcap format, microsecond times, link type Ethernet.
//!
//! Guarantees: tcpdump, tshark and [`PcapReader`] read what is written; every frame is flushed
//! whole, so a file being written can be read. Format: draft-ietf-opsawg-pcap.

use std::io::{self, Read, Write};
use std::time::Duration;

const MAGIC: u32 = 0xa1b2_c3d4;
const LINKTYPE_ETHERNET: u32 = 1;
const SNAPLEN: u32 = 65_535;

/// Writes frames to a file or any other sink.
#[derive(Debug)]
pub struct PcapWriter<W: Write> {
    sink: W,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file header.
    pub fn new(mut sink: W) -> io::Result<Self> {
        let mut header = Vec::with_capacity(24);
        header.extend(MAGIC.to_le_bytes());
        header.extend(2_u16.to_le_bytes());
        header.extend(4_u16.to_le_bytes());
        header.extend([0; 8]); // time zone and accuracy, zero by convention
        header.extend(SNAPLEN.to_le_bytes());
        header.extend(LINKTYPE_ETHERNET.to_le_bytes());
        sink.write_all(&header)?;
        sink.flush()?;
        Ok(Self { sink })
    }

    /// Writes one frame. `time` counts from the Unix epoch; frames beyond 65,535 bytes are cut.
    pub fn write(&mut self, time: Duration, frame: &[u8]) -> io::Result<()> {
        let kept = frame.get(..SNAPLEN as usize).unwrap_or(frame);
        let mut record = Vec::with_capacity(16 + kept.len());
        // the format's seconds are 32 bits: they wrap in 2106 and nothing else could be written
        record.extend((u32::try_from(time.as_secs()).unwrap_or(u32::MAX)).to_le_bytes());
        record.extend(time.subsec_micros().to_le_bytes());
        record.extend((u32::try_from(kept.len()).unwrap_or(SNAPLEN)).to_le_bytes());
        record.extend((u32::try_from(frame.len()).unwrap_or(u32::MAX)).to_le_bytes());
        record.extend(kept);
        self.sink.write_all(&record)?;
        self.sink.flush()
    }
}

impl PcapWriter<Vec<u8>> {
    /// Takes out what was written since the last time: for a sink that is fed piece by piece.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sink)
    }
}

/// Reads back files [`PcapWriter`] wrote: little-endian, microseconds, Ethernet.
#[derive(Debug)]
pub struct PcapReader<R: Read> {
    source: R,
}

impl<R: Read> PcapReader<R> {
    /// Reads the file header and refuses another format.
    pub fn new(mut source: R) -> io::Result<Self> {
        let mut header = [0; 24];
        source.read_exact(&mut header)?;
        if header.starts_with(&MAGIC.to_le_bytes()) {
            Ok(Self { source })
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "not a pcap file of this program"))
        }
    }

    /// The next frame and its time since the Unix epoch; `None` at the end of the file.
    pub fn next_frame(&mut self) -> io::Result<Option<(Duration, Vec<u8>)>> {
        let mut record = [[0; 4]; 4];
        if let Err(error) = self.source.read_exact(record.as_flattened_mut()) {
            let end = error.kind() == io::ErrorKind::UnexpectedEof;
            return if end { Ok(None) } else { Err(error) };
        }
        let [seconds, micros, kept, _] = record.map(u32::from_le_bytes);
        let mut frame = vec![0; kept.min(SNAPLEN) as usize];
        self.source.read_exact(&mut frame)?;
        let time = Duration::from_secs(u64::from(seconds)) + Duration::from_micros(micros.into());
        Ok(Some((time, frame)))
    }
}
