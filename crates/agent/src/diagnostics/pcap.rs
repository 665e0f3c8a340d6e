//! The pcap file format, version 2.4, microseconds, Ethernet. Pure.

use std::time::{Duration, SystemTime};

/// Media type of a pcap file, as IANA has it.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.tcpdump.pcap";
/// Length of the header of a file.
pub(super) const FILE_HEADER: usize = 24;
/// Length of the header of a record.
pub(super) const RECORD_HEADER: usize = 16;
/// Longest frame stored: the kernel hands over merged ones of up to 64 KiB.
pub(super) const SNAP: usize = 65_535;

/// The start of a file.
pub(super) fn header() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FILE_HEADER);
    bytes.extend(0xa1b2_c3d4_u32.to_le_bytes());
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(4_u16.to_le_bytes());
    // time zone and accuracy, which nobody uses
    bytes.extend([0; 8]);
    bytes.extend(u32::try_from(SNAP).unwrap_or(u32::MAX).to_le_bytes());
    // Ethernet
    bytes.extend(1_u32.to_le_bytes());
    bytes
}

/// One frame, of which `length` bytes were on the wire.
pub(super) fn record(at: SystemTime, length: usize, frame: &[u8]) -> Vec<u8> {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let seconds = u32::try_from(since.as_secs()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(RECORD_HEADER + frame.len());
    bytes.extend(seconds.to_le_bytes());
    bytes.extend(since.subsec_micros().to_le_bytes());
    bytes.extend(number(frame.len()));
    bytes.extend(number(length));
    bytes.extend(frame);
    bytes
}

/// The frame with a tag put back that the NIC took off (IEEE 802.1Q 9.6).
pub(super) fn tagged(frame: &[u8], tag: Option<(u16, u16)>) -> Vec<u8> {
    match (tag, frame.split_at_checked(12)) {
        (Some((protocol, control)), Some((addresses, rest))) => {
            [addresses, &protocol.to_be_bytes(), &control.to_be_bytes(), rest].concat()
        }
        _ => frame.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_times_are_where_readers_look() {
        assert_eq!(header().len(), FILE_HEADER);
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(3_000_007);
        let record = record(at, 100, &[0xaa; 60]);
        assert_eq!(record[..RECORD_HEADER], [3, 0, 0, 0, 7, 0, 0, 0, 60, 0, 0, 0, 100, 0, 0, 0]);
        assert_eq!(record.len(), RECORD_HEADER + 60);
    }

    #[test]
    fn a_tag_goes_behind_the_addresses() {
        let frame: Vec<u8> = (0..20).collect();
        let tagged = tagged(&frame, Some((0x8100, 101)));
        assert_eq!(tagged[..16], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x81, 0, 0, 101]);
        assert_eq!(tagged[16..], frame[12..]);
        assert_eq!(super::tagged(&[1, 2], Some((0x8100, 1))), [1, 2]);
    }
}
