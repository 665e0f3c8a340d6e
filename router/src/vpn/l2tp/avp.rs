//! Attribute-value pairs (RFC 2661 4).
//!
//! Guarantees: reading ends, whatever the lengths say; a pair that runs past the message, or whose length is less than
//! its own header, is a fault.

use super::hidden;
use super::message::Fault;
use crate::vpn::wire::{Reader, length16};

const MANDATORY: u16 = 0x8000;
const HIDDEN: u16 = 0x4000;
const RESERVED: u16 = 0x3c00;
const LENGTH: u16 = 0x03ff;
/// Bytes of a pair's header.
const HEADER: usize = 6;

/// Attribute types of vendor 0 (RFC 2661 4.4).
pub(super) mod kind {
    pub(crate) const MESSAGE_TYPE: u16 = 0;
    pub(crate) const RESULT_CODE: u16 = 1;
    pub(crate) const PROTOCOL_VERSION: u16 = 2;
    pub(crate) const FRAMING_CAPABILITIES: u16 = 3;
    pub(crate) const BEARER_CAPABILITIES: u16 = 4;
    pub(crate) const HOST_NAME: u16 = 7;
    pub(crate) const VENDOR_NAME: u16 = 8;
    pub(crate) const ASSIGNED_TUNNEL: u16 = 9;
    pub(crate) const RECEIVE_WINDOW: u16 = 10;
    pub(crate) const CHALLENGE: u16 = 11;
    pub(crate) const CHALLENGE_RESPONSE: u16 = 13;
    pub(crate) const ASSIGNED_SESSION: u16 = 14;
    pub(crate) const RANDOM_VECTOR: u16 = 36;
    pub(crate) const SEQUENCING_REQUIRED: u16 = 39;
}

/// One pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Avp {
    pub(super) mandatory: bool,
    pub(super) vendor: u16,
    pub(super) kind: u16,
    /// In clear, whether it was hidden or not.
    pub(super) value: Vec<u8>,
}

/// All pairs of a message, hidden ones uncovered with `secret`.
pub(super) fn read(body: &[u8], secret: Option<&[u8]>) -> Result<Vec<Avp>, Fault> {
    let mut reader = Reader::new(body);
    let mut vector: Option<Vec<u8>> = None;
    let mut all = Vec::new();
    while !reader.is_empty() {
        let (avp, covered) = one(&mut reader)?;
        let avp = if covered { uncover(avp, vector.as_deref(), secret)? } else { Some(avp) };
        let Some(avp) = avp else { continue };
        if avp.vendor == 0 && avp.kind == kind::RANDOM_VECTOR {
            vector = Some(avp.value.clone());
        }
        all.push(avp);
    }
    Ok(all)
}

/// The next pair, and whether its value is hidden.
fn one(reader: &mut Reader<'_>) -> Result<(Avp, bool), Fault> {
    let mut next = || reader.u16().ok_or(Fault::Cut);
    let (flags, mut vendor, kind) = (next()?, next()?, next()?);
    let length = usize::from(flags & LENGTH).checked_sub(HEADER).ok_or(Fault::Cut)?;
    let value = reader.take(length).ok_or(Fault::Cut)?.to_vec();
    if flags & RESERVED != 0 {
        // to be treated as one that is not known (RFC 2661 4.1); no vendor has this number
        vendor = u16::MAX;
    }
    Ok((Avp { mandatory: flags & MANDATORY != 0, vendor, kind, value }, flags & HIDDEN != 0))
}

/// The pair with its value in clear; one that cannot be read is a fault, unless it may be ignored.
fn uncover(avp: Avp, vector: Option<&[u8]>, secret: Option<&[u8]>) -> Result<Option<Avp>, Fault> {
    let value = vector
        .zip(secret)
        .and_then(|(vector, secret)| hidden::uncover(avp.kind, secret, vector, &avp.value));
    match value {
        Some(value) => Ok(Some(Avp { value, ..avp })),
        None if avp.mandatory => Err(Fault::Hidden { kind: avp.kind }),
        None => Ok(None),
    }
}

/// A message's pairs as bytes.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// A message of this type.
    pub(super) fn message(number: u16) -> Self {
        Self::default().pair(kind::MESSAGE_TYPE, &number.to_be_bytes())
    }

    /// Adds a mandatory pair. Values are ours; what is longer than a pair can hold is cut.
    pub(super) fn pair(self, kind: u16, value: &[u8]) -> Self {
        self.write(MANDATORY, kind, value)
    }

    /// Adds one that the receiver may ignore.
    pub(super) fn optional(self, kind: u16, value: &[u8]) -> Self {
        self.write(0, kind, value)
    }

    fn write(mut self, flags: u16, kind: u16, value: &[u8]) -> Self {
        let value = value.get(..value.len().min(usize::from(LENGTH) - HEADER)).unwrap_or(&[]);
        let flags = flags | length16(HEADER + value.len());
        self.0.extend([flags, 0, kind].into_iter().flat_map(u16::to_be_bytes));
        self.0.extend(value);
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}
