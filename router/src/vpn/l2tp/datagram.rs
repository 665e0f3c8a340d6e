//! The header of every L2TP datagram (RFC 2661 3.1).

use thiserror::Error;

use crate::vpn::wire::{Reader, length16};

/// It is a control message.
const CONTROL: u16 = 0x8000;
/// The length field is there.
const LENGTH: u16 = 0x4000;
/// Ns and Nr are there.
const SEQUENCE: u16 = 0x0800;
/// The offset field is there.
const OFFSET: u16 = 0x0200;
const PRIORITY: u16 = 0x0100;
const VERSION: u16 = 0x000f;
/// Version 2; version 3 (RFC 3931) is another protocol on the same port.
const V2: u16 = 2;
/// Bytes of a control message's header.
pub(super) const CONTROL_HEADER: usize = 12;
/// Longest control message taken. The longest that a client has reason to send, a call with all its proxied LCP packets,
/// is a few hundred bytes.
const LONGEST_CONTROL: usize = 4096;

/// Why bytes are not an L2TPv2 datagram. None of these is answered.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// It ends within the header.
    #[error("cut off in the header")]
    Short,
    /// Another version.
    #[error("version {0} is not 2")]
    Version(u16),
    /// A control message whose header lacks length or sequence numbers, or has what only data may have.
    #[error("flags {0:#06x} are not those of a control message")]
    Flags(u16),
    /// The length field is more than there is, less than the header, or more than any control message needs.
    #[error("length field {0} is wrong")]
    Length(u16),
    /// The offset goes past the end.
    #[error("offset {0} goes past the end")]
    Offset(u16),
}

/// A datagram, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// Control message.
    Control(Control<'a>),
    /// A PPP frame of a call.
    Data(Data<'a>),
}

/// A control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control<'a> {
    /// The receiver's id of the tunnel; 0 before it gave one.
    pub tunnel: u16,
    /// The receiver's id of the call; 0 for the tunnel as a whole.
    pub session: u16,
    /// Number of this message.
    pub ns: u16,
    /// Number of the next message that the sender expects.
    pub nr: u16,
    /// AVPs; none: an acknowledgement alone.
    pub body: &'a [u8],
}

/// A data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The receiver's id of the tunnel.
    pub tunnel: u16,
    /// The receiver's id of the call.
    pub session: u16,
    /// The PPP frame.
    pub payload: &'a [u8],
}

/// Takes a datagram apart.
pub fn decode(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
    let flags = Reader::new(bytes).u16().ok_or(Malformed::Short)?;
    if flags & VERSION != V2 {
        return Err(Malformed::Version(flags & VERSION));
    }
    if flags & CONTROL == 0 {
        return data(flags, bytes).map(Datagram::Data);
    }
    if flags & (LENGTH | SEQUENCE | OFFSET | PRIORITY) != LENGTH | SEQUENCE {
        return Err(Malformed::Flags(flags));
    }
    control(bytes).map(Datagram::Control)
}

fn control(bytes: &[u8]) -> Result<Control<'_>, Malformed> {
    let bytes = cut(bytes)?;
    if bytes.len() > LONGEST_CONTROL {
        return Err(Malformed::Length(length16(bytes.len())));
    }
    let mut reader = Reader::new(bytes);
    let mut next = || reader.u16().ok_or(Malformed::Short);
    let _flags_and_length = (next()?, next()?);
    let (tunnel, session, ns, nr) = (next()?, next()?, next()?, next()?);
    Ok(Control { tunnel, session, ns, nr, body: reader.rest() })
}

/// What the length field covers; padding that a link added is not part of the message.
fn cut(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(bytes);
    let (_, length) = (reader.u16(), reader.u16().ok_or(Malformed::Short)?);
    bytes.get(..usize::from(length)).ok_or(Malformed::Length(length))
}

fn data(flags: u16, bytes: &[u8]) -> Result<Data<'_>, Malformed> {
    let has = |flag: u16| flags & flag != 0;
    let bytes = if has(LENGTH) { cut(bytes)? } else { bytes };
    let mut reader = Reader::new(bytes);
    reader.take(if has(LENGTH) { 4 } else { 2 }).ok_or(Malformed::Short)?;
    let tunnel = reader.u16().ok_or(Malformed::Short)?;
    let session = reader.u16().ok_or(Malformed::Short)?;
    if has(SEQUENCE) {
        reader.take(4).ok_or(Malformed::Short)?;
    }
    if has(OFFSET) {
        let offset = reader.u16().ok_or(Malformed::Short)?;
        reader.take(usize::from(offset)).ok_or(Malformed::Offset(offset))?;
    }
    Ok(Data { tunnel, session, payload: reader.rest() })
}

/// A control message as bytes. `body` is ours and far shorter than the length field can say.
pub(super) fn encode_control(message: &Control<'_>) -> Vec<u8> {
    let length = length16(CONTROL_HEADER + message.body.len());
    let flags = CONTROL | LENGTH | SEQUENCE | V2;
    let header = [flags, length, message.tunnel, message.session, message.ns, message.nr];
    let mut bytes: Vec<u8> = header.into_iter().flat_map(u16::to_be_bytes).collect();
    bytes.extend(message.body);
    bytes
}

/// A data message as bytes, without the optional fields; with `ns`, with sequence numbers.
pub fn encode_data(tunnel: u16, session: u16, ns: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let sequence = ns.map(|ns| [ns, 0]);
    let flags = V2 | if sequence.is_some() { SEQUENCE } else { 0 };
    let header = [flags, tunnel, session].into_iter().chain(sequence.into_iter().flatten());
    let mut bytes: Vec<u8> = header.flat_map(u16::to_be_bytes).collect();
    bytes.extend(payload);
    bytes
}
