//! Ethernet frames as far as a switch looks at them: addresses and the outer 802.1Q tag.
//!
//! Guarantees: never panics, never reads past the frame, and a frame that was tagged and untagged
//! again has the bytes it had. Does not look at anything above the tag.

use bytes::{BufMut, Bytes, BytesMut};
use sluice_api::types::VlanId;

/// Tag protocol identifier of a customer VLAN tag (IEEE 802.1Q, 9.6).
pub const TPID_8021Q: u16 = 0x8100;

const ADDRESSES: usize = 12;
const HEADER: usize = 14;
const TAG: usize = 4;
/// The 12 bits of a tag that hold the VLAN; the other four are priority and drop eligibility.
const VID_MASK: u16 = 0x0fff;

/// A frame with a whole Ethernet header.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the header. `None` when there are fewer bytes than one needs, tag included.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let frame = Self { bytes };
        if bytes.len() < HEADER {
            return None;
        }
        let tag_is_whole = frame.ethertype() != TPID_8021Q || bytes.len() >= HEADER + TAG;
        tag_is_whole.then_some(frame)
    }

    /// Where the frame goes; unlike a NIC's own address this may be a group or broadcast.
    pub fn destination(&self) -> [u8; 6] {
        self.mac_at(0)
    }

    /// Who says to have sent it; not checked, since a switch must survive any.
    pub fn source(&self) -> [u8; 6] {
        self.mac_at(6)
    }

    /// The EtherType or length field; [`TPID_8021Q`] for a tagged frame.
    pub fn ethertype(&self) -> u16 {
        self.u16_at(ADDRESSES)
    }

    /// The EtherType behind the tag, or the only one of an untagged frame.
    pub fn inner_ethertype(&self) -> u16 {
        if self.tag().is_some() { self.u16_at(ADDRESSES + TAG) } else { self.ethertype() }
    }

    /// The bytes behind the header and the tag.
    pub fn payload(&self) -> &'a [u8] {
        let start = if self.tag().is_some() { HEADER + TAG } else { HEADER };
        self.bytes.get(start..).unwrap_or_default()
    }

    /// The tag control information when the frame carries an 802.1Q tag.
    pub fn tag(&self) -> Option<u16> {
        (self.ethertype() == TPID_8021Q).then(|| self.u16_at(HEADER))
    }

    /// The VLAN of the tag. `None` when untagged, priority-tagged (VLAN 0) or in reserved 4095.
    pub fn vlan(&self) -> Option<VlanId> {
        self.tag().and_then(|tci| VlanId::try_from(u64::from(tci & VID_MASK)).ok())
    }

    /// Whether the frame has no tag, or one that only carries a priority.
    pub fn is_untagged(&self) -> bool {
        self.tag().is_none_or(|tci| tci & VID_MASK == 0)
    }

    /// This frame in VLAN `vlan`. A priority-only tag keeps its priority bits.
    pub fn tagged(&self, vlan: VlanId) -> Bytes {
        let (priority, rest) = match self.tag() {
            Some(tci) => (tci & !VID_MASK, ADDRESSES + TAG),
            None => (0, ADDRESSES),
        };
        let mut out = BytesMut::with_capacity(self.bytes.len() + TAG);
        out.put_slice(self.bytes.get(..ADDRESSES).unwrap_or_default());
        out.put_u16(TPID_8021Q);
        out.put_u16(priority | vlan.get());
        out.put_slice(self.bytes.get(rest..).unwrap_or_default());
        out.freeze()
    }

    /// This frame without its tag.
    pub fn untagged(&self) -> Bytes {
        if self.tag().is_none() {
            return Bytes::copy_from_slice(self.bytes);
        }
        let mut out = BytesMut::with_capacity(self.bytes.len());
        out.put_slice(self.bytes.get(..ADDRESSES).unwrap_or_default());
        out.put_slice(self.bytes.get(ADDRESSES + TAG..).unwrap_or_default());
        out.freeze()
    }

    fn mac_at(&self, at: usize) -> [u8; 6] {
        let mut octets = [0; 6];
        if let Some(found) = self.bytes.get(at..at + 6) {
            octets.copy_from_slice(found);
        }
        octets
    }

    fn u16_at(&self, at: usize) -> u16 {
        match self.bytes.get(at..at + 2) {
            Some(&[high, low]) => u16::from_be_bytes([high, low]),
            _ => 0,
        }
    }
}
