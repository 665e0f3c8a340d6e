//! Control messages by type, with what an LNS needs of them (RFC 2661 4.4, 6).

use std::fmt;

use thiserror::Error;

use super::avp::{self, Avp, Writer, kind};

/// What a message is (RFC 2661 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vpn) enum Kind {
    StartRequest,
    StartReply,
    StartConnected,
    Stop,
    Hello,
    OutgoingRequest,
    OutgoingReply,
    OutgoingConnected,
    IncomingRequest,
    IncomingReply,
    IncomingConnected,
    CallDisconnect,
    WanError,
    LinkInfo,
}

impl Kind {
    const ALL: [(u16, Self); 14] = [
        (1, Self::StartRequest),
        (2, Self::StartReply),
        (3, Self::StartConnected),
        (4, Self::Stop),
        (6, Self::Hello),
        (7, Self::OutgoingRequest),
        (8, Self::OutgoingReply),
        (9, Self::OutgoingConnected),
        (10, Self::IncomingRequest),
        (11, Self::IncomingReply),
        (12, Self::IncomingConnected),
        (14, Self::CallDisconnect),
        (15, Self::WanError),
        (16, Self::LinkInfo),
    ];

    fn of(number: u16) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == number).map(|(_, kind)| *kind)
    }

    pub(super) fn number(self) -> u16 {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or(0, |(number, _)| *number)
    }
}

/// Why a control message cannot be acted on. Each ends the call or the tunnel that it was about.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum Fault {
    #[error("an attribute runs past the end of its message")]
    Cut,
    #[error("the first attribute is not the message's type")]
    NoType,
    #[error("message type {0} is not known, and mandatory")]
    Type(u16),
    #[error("attribute {kind} of vendor {vendor} is not known, and mandatory")]
    Unknown { vendor: u16, kind: u16 },
    #[error("attribute {kind} has a wrong length")]
    Length { kind: u16 },
    #[error("attribute {kind} is hidden, and cannot be read without the secret")]
    Hidden { kind: u16 },
    #[error("attribute {kind} is missing")]
    Missing { kind: u16 },
    #[error("attribute {kind} has a value that it cannot have")]
    Value { kind: u16 },
}

impl Fault {
    pub(super) fn error(&self) -> ErrorCode {
        match self {
            Self::Cut | Self::Length { .. } => ErrorCode::Length,
            Self::Type(_) | Self::Unknown { .. } | Self::Hidden { .. } => ErrorCode::Unknown,
            Self::NoType | Self::Missing { .. } | Self::Value { .. } => ErrorCode::Value,
        }
    }
}

/// What is wrong in general (RFC 2661 4.4.2, "Error Code").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// Nothing.
    None = 0,
    /// There is no control connection for this yet.
    NoConnection = 1,
    /// A length is wrong.
    Length = 2,
    /// A value is out of range.
    Value = 3,
    /// Not now, for want of room.
    Resources = 4,
    /// The call's id means nothing here.
    Session = 5,
    /// Something mandatory is not known.
    Unknown = 8,
}

/// Why a tunnel or a call ends, as said to the peer (result codes of RFC 2661 4.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It is not needed any more.
    Clear,
    /// An error, with its code.
    Error(ErrorCode),
    /// The peer may not do that.
    NotAuthorized,
    /// We speak version 1.0 only.
    Version,
    /// This end goes away.
    ShuttingDown,
    /// The carrier was lost: PPP ended.
    Lost,
    /// An administrator's wish.
    Administrative,
    /// No facilities at the moment.
    Busy,
}

impl StopReason {
    /// Numbers of `Stop`: for tunnels.
    fn of_tunnel(self) -> [u16; 2] {
        match self {
            Self::Clear | Self::Lost | Self::Administrative => [1, 0],
            Self::Error(code) => [2, code as u16],
            Self::Busy => [2, ErrorCode::Resources as u16],
            Self::NotAuthorized => [4, 0],
            Self::Version => [5, 0x0100],
            Self::ShuttingDown => [6, 0],
        }
    }

    /// Numbers of `CallDisconnect`: for calls.
    fn of_session(self) -> [u16; 2] {
        match self {
            Self::Lost => [1, 0],
            Self::Error(code) => [2, code as u16],
            Self::Clear | Self::Administrative | Self::ShuttingDown => [3, 0],
            Self::Busy => [4, 0],
            Self::NotAuthorized | Self::Version => [5, 0],
        }
    }
}

/// Why something ended, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// We ended it.
    Ours(String),
    /// The peer did, with these result and error codes and words of its own, printable.
    Peers {
        /// Result code.
        result: u16,
        /// Error code; 0 when there is none.
        error: u16,
        /// What it said besides.
        text: String,
    },
    /// The peer no longer answers.
    Silent,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(reason) => f.write_str(reason),
            Self::Peers { result, error, text } => {
                write!(f, "ended by the client (result {result}, error {error}) {text}")
            }
            Self::Silent => f.write_str("the client no longer answers"),
        }
    }
}

/// A message that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) fields: Fields,
}

/// What an LNS needs of the attributes; absent ones are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) version: Option<[u8; 2]>,
    pub(super) host: Option<String>,
    pub(super) tunnel: Option<u16>,
    pub(super) session: Option<u16>,
    pub(super) window: Option<u16>,
    pub(super) challenge: Option<Vec<u8>>,
    pub(super) response: Option<[u8; 16]>,
    pub(super) sequencing: bool,
    /// Result, error and words.
    pub(super) result: Option<(u16, u16, String)>,
}

/// Reads a message. `None`: of a type that is not known and may be ignored.
pub(super) fn read(body: &[u8], secret: Option<&[u8]>) -> Result<Option<Message>, Fault> {
    let avps = avp::read(body, secret)?;
    let (first, rest) = avps.split_first().ok_or(Fault::NoType)?;
    let number = number16(first).filter(|_| first.vendor == 0 && first.kind == kind::MESSAGE_TYPE);
    let number = number.ok_or(Fault::NoType)?;
    let Some(kind) = Kind::of(number) else {
        return if first.mandatory { Err(Fault::Type(number)) } else { Ok(None) };
    };
    let mut fields = Fields::default();
    for avp in rest {
        let fits = avp.vendor == 0 && fits(avp);
        match fits {
            true => fields.take(avp),
            false if !avp.mandatory => (),
            false if avp.vendor == 0 && lengths(avp.kind).is_some() => {
                return Err(Fault::Length { kind: avp.kind });
            }
            false => return Err(Fault::Unknown { vendor: avp.vendor, kind: avp.kind }),
        }
    }
    Ok(Some(Message { kind, fields }))
}

fn fits(avp: &Avp) -> bool {
    lengths(avp.kind).is_some_and(|range| range.contains(&avp.value.len()))
}

/// How long the value of an attribute may be; `None` for one that is not known (RFC 2661 4.4, and RFC 3145 for 46).
fn lengths(kind: u16) -> Option<std::ops::RangeInclusive<usize>> {
    const ANY: usize = 1017;
    Some(match kind {
        0 | 2 | 6 | 9 | 10 | 14 | 29 | 32 => 2..=2,
        3 | 4 | 15..=19 | 24 | 25 | 38 => 4..=4,
        5 => 8..=8,
        1 => 2..=ANY,
        12 => 3..=ANY,
        7 | 11 | 36 => 1..=ANY,
        8 | 21 | 22 | 23 | 26 | 27 | 28 | 30 | 31 | 33 | 37 | 46 => 0..=ANY,
        13 => 16..=16,
        34 => 26..=26,
        35 => 10..=10,
        39 => 0..=0,
        _ => return None,
    })
}

fn number16(avp: &Avp) -> Option<u16> {
    avp.value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

impl Fields {
    /// Of two of a kind the first counts.
    fn take(&mut self, avp: &Avp) {
        let number = number16(avp);
        match avp.kind {
            kind::RESULT_CODE => _ = self.result.get_or_insert_with(|| result(&avp.value)),
            kind::PROTOCOL_VERSION => {
                self.version = self.version.or(avp.value.first_chunk().copied());
            }
            kind::HOST_NAME => _ = self.host.get_or_insert_with(|| printable(&avp.value)),
            kind::ASSIGNED_TUNNEL => self.tunnel = self.tunnel.or(number),
            kind::RECEIVE_WINDOW => self.window = self.window.or(number),
            kind::CHALLENGE => _ = self.challenge.get_or_insert_with(|| avp.value.clone()),
            kind::CHALLENGE_RESPONSE => {
                self.response = self.response.or(avp.value.first_chunk().copied());
            }
            kind::ASSIGNED_SESSION => self.session = self.session.or(number),
            kind::SEQUENCING_REQUIRED => self.sequencing = true,
            _ => (),
        }
    }
}

fn result(value: &[u8]) -> (u16, u16, String) {
    let mut reader = crate::vpn::wire::Reader::new(value);
    let result = reader.u16().unwrap_or(0);
    let error = reader.u16().unwrap_or(0);
    (result, error, printable(reader.rest()))
}

/// What a peer wrote, fit for a log: at most 64 characters, none of them control characters.
pub(in crate::vpn) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(64).collect()
}

/// What we say of ourselves in `StartReply`.
pub(super) struct Start<'a> {
    pub(super) host: &'a str,
    pub(super) tunnel: u16,
    pub(super) window: u16,
    pub(super) challenge: Option<&'a [u8]>,
    pub(super) response: Option<[u8; 16]>,
}

pub(super) fn start_reply(start: &Start<'_>) -> Vec<u8> {
    /// Synchronous and asynchronous framing: to PPP over L2TP it makes no difference.
    const BOTH: [u8; 4] = [0, 0, 0, 3];
    let mut writer = Writer::message(Kind::StartReply.number())
        .pair(kind::PROTOCOL_VERSION, &[1, 0])
        .pair(kind::FRAMING_CAPABILITIES, &BOTH)
        .pair(kind::BEARER_CAPABILITIES, &[0; 4])
        .pair(kind::HOST_NAME, start.host.as_bytes())
        .optional(kind::VENDOR_NAME, b"Sluice")
        .pair(kind::ASSIGNED_TUNNEL, &start.tunnel.to_be_bytes())
        .pair(kind::RECEIVE_WINDOW, &start.window.to_be_bytes());
    if let Some(challenge) = start.challenge {
        writer = writer.pair(kind::CHALLENGE, challenge);
    }
    if let Some(response) = start.response {
        writer = writer.pair(kind::CHALLENGE_RESPONSE, &response);
    }
    writer.finish()
}

pub(super) fn incoming_reply(session: u16) -> Vec<u8> {
    let writer = Writer::message(Kind::IncomingReply.number());
    writer.pair(kind::ASSIGNED_SESSION, &session.to_be_bytes()).finish()
}

pub(super) fn hello() -> Vec<u8> {
    Writer::message(Kind::Hello.number()).finish()
}

pub(super) fn stop(tunnel: u16, reason: StopReason, text: &str) -> Vec<u8> {
    Writer::message(Kind::Stop.number())
        .pair(kind::ASSIGNED_TUNNEL, &tunnel.to_be_bytes())
        .pair(kind::RESULT_CODE, &codes(reason.of_tunnel(), text))
        .finish()
}

pub(super) fn call_disconnect(session: u16, reason: StopReason, text: &str) -> Vec<u8> {
    Writer::message(Kind::CallDisconnect.number())
        .pair(kind::RESULT_CODE, &codes(reason.of_session(), text))
        .pair(kind::ASSIGNED_SESSION, &session.to_be_bytes())
        .finish()
}

fn codes(numbers: [u16; 2], text: &str) -> Vec<u8> {
    let mut value: Vec<u8> = numbers.into_iter().flat_map(u16::to_be_bytes).collect();
    value.extend(text.as_bytes());
    value
}
