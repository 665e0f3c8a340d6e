//! Frames, packets and options (RFC 1661 2, 5, 6).

use crate::vpn::wire::{Reader, length16};

/// Bytes of a packet's header: code, id, length.
const HEADER: usize = 4;

/// Protocol and content of a frame. Address and control fields, and the first byte of the protocol, may be left out
/// (RFC 1661 6.5, 6.6). `None` for bytes that are no frame.
pub fn decode_frame(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let bytes = bytes.strip_prefix(&[0xff, 0x03]).unwrap_or(bytes);
    let mut reader = Reader::new(bytes);
    let first = reader.u8()?;
    // the last byte of a protocol's number is odd, those before it are even
    let protocol = if first & 1 == 1 {
        u16::from(first)
    } else {
        u16::from_be_bytes([first, reader.u8().filter(|second| second & 1 == 1)?])
    };
    Some((protocol, reader.rest()))
}

/// A frame without address and control fields, which the data path adds.
pub(super) fn encode_frame(protocol: u16, packet: &[u8]) -> Vec<u8> {
    let mut bytes = protocol.to_be_bytes().to_vec();
    bytes.extend(packet);
    bytes
}

/// A packet of a control protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) code: u8,
    pub(super) id: u8,
    pub(super) data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` when the length is wrong; what is longer than the length says is padding.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (code, id, length) = (reader.u8()?, reader.u8()?, reader.u16()?);
        let data = reader.take(usize::from(length).checked_sub(HEADER)?)?;
        Some(Self { code, id, data })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.code, self.id];
        bytes.extend(length16(HEADER + self.data.len()).to_be_bytes());
        bytes.extend(self.data);
        bytes
    }
}

/// One option of a Configure packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice<'a> {
    pub(super) kind: u8,
    pub(super) value: &'a [u8],
}

impl Choice<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let length = u8::try_from(self.value.len() + 2).unwrap_or(u8::MAX);
        out.extend([self.kind, length]);
        out.extend(self.value.iter().take(usize::from(length) - 2));
    }

    /// The value as a number of 16 bits, if it is one.
    pub(super) fn number16(&self) -> Option<u16> {
        self.value.try_into().ok().map(u16::from_be_bytes)
    }

    /// The value as 32 bits, if it is.
    pub(super) fn bytes4(&self) -> Option<[u8; 4]> {
        self.value.try_into().ok()
    }
}

/// All options; `None` when a length runs past the end or is less than an option's own header.
pub(super) fn choices(data: &[u8]) -> Option<Vec<Choice<'_>>> {
    let mut reader = Reader::new(data);
    let mut all = Vec::new();
    while !reader.is_empty() {
        let (kind, length) = (reader.u8()?, reader.u8()?);
        let value = reader.take(usize::from(length).checked_sub(2)?)?;
        all.push(Choice { kind, value });
    }
    Some(all)
}

/// Options as bytes.
pub(super) fn write_choices<'a>(choices: impl IntoIterator<Item = Choice<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    choices.into_iter().for_each(|choice| choice.write(&mut out));
    out
}
