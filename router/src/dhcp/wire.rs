//! The decoder: one pass over the bytes, nothing allocated.
//!
//! Guarantees: no input panics or reads out of bounds; a message that decodes has a type and an Ethernet client.
//! Tolerated, because clients in the field do it: no end option, anything after it, options we do not know.
//! Refused: an option that runs past its field, or one of ours with a wrong length; a guess there could hand out an address.

use std::net::Ipv4Addr;

use sluice_api::types::MacAddr;
use thiserror::Error;

use super::options::{self, OptionSet};

/// Bytes before the options: the BOOTP header and the magic cookie (RFC 2131 2, RFC 2132 2).
pub(crate) const HEADER: usize = 240;
pub(crate) const COOKIE: [u8; 4] = [99, 130, 83, 99];
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;

/// What a client can send (RFC 2132 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Looks for servers.
    Discover,
    /// Wants or keeps an address.
    Request,
    /// Found its address in use by somebody else.
    Decline,
    /// Gives its address back.
    Release,
    /// Has an address, wants the other parameters.
    Inform,
}

impl Kind {
    /// Every kind, in the order of [`Kind::slot`].
    pub const ALL: [Self; 5] =
        [Self::Discover, Self::Request, Self::Decline, Self::Release, Self::Inform];

    const fn from_wire(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Discover),
            3 => Some(Self::Request),
            4 => Some(Self::Decline),
            7 => Some(Self::Release),
            8 => Some(Self::Inform),
            _ => None,
        }
    }

    /// Lower-case name, as in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Request => "request",
            Self::Decline => "decline",
            Self::Release => "release",
            Self::Inform => "inform",
        }
    }
}

/// Why bytes are not a client's DHCP message. None of these is answered.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than the fixed part.
    #[error("{0} bytes, shorter than the fixed part")]
    Short(usize),
    /// `op` is not BOOTREQUEST: another server's reply, or noise.
    #[error("op {0} is not a request")]
    Op(u8),
    /// Not an Ethernet client.
    #[error("hardware type {0} with {1} bytes of address is not Ethernet")]
    Hardware(u8, u8),
    /// `chaddr` cannot belong to a NIC.
    #[error("client address is zero or multicast")]
    ClientAddress,
    /// No magic cookie: not DHCP.
    #[error("no magic cookie")]
    Cookie,
    /// An option runs past the end of its field.
    #[error("option {0} is cut off")]
    Cut(u8),
    /// An option with a length that it cannot have.
    #[error("option {0} has a wrong length")]
    Length(u8),
    /// Plain BOOTP, which has no message type.
    #[error("no message type")]
    NoType,
    /// A message type that clients do not send.
    #[error("message type {0} is not a client's")]
    Type(u8),
}

/// A decoded client message; borrows from the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Option 53.
    pub kind: Kind,
    /// Transaction id, copied into the reply.
    pub xid: [u8; 4],
    /// Flags as sent; only the broadcast bit means anything.
    pub flags: [u8; 2],
    /// The address that the client says it has, or 0.0.0.0.
    pub ciaddr: Ipv4Addr,
    /// The relay that passed the message on, or 0.0.0.0.
    pub giaddr: Ipv4Addr,
    /// The client's Ethernet address; the key of everything.
    pub chaddr: MacAddr,
    /// Option 50.
    pub requested: Option<Ipv4Addr>,
    /// Option 54.
    pub server_id: Option<Ipv4Addr>,
    /// Option 55; `None` when the client did not say what it wants.
    pub asked: Option<OptionSet>,
    /// Option 57: the largest IP packet the client takes, in bytes.
    pub max_size: Option<u16>,
    /// Option 61, only to be echoed (RFC 6842).
    pub client_id: Option<&'a [u8]>,
    /// Option 82, only to be echoed (RFC 3046 2.2).
    pub relay_info: Option<&'a [u8]>,
}

impl Message<'_> {
    /// True when the client cannot take unicast before it has its address (RFC 2131 2, figure 2).
    pub fn wants_broadcast(&self) -> bool {
        self.flags[0] & 0x80 != 0
    }

    /// True when it came through a relay.
    pub fn is_relayed(&self) -> bool {
        !self.giaddr.is_unspecified()
    }
}

/// Decodes what a client sent.
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let (header, rest) =
        bytes.split_first_chunk::<HEADER>().ok_or(Malformed::Short(bytes.len()))?;
    let chaddr = check_header(header)?;
    let mut found = Options::default();
    found.read(rest)?;
    // RFC 2131 4.1: the two header fields are read after the options, `file` first
    if found.overload & 1 != 0 {
        found.read(header.get(FILE).unwrap_or_default())?;
    }
    if found.overload & 2 != 0 {
        found.read(header.get(SNAME).unwrap_or_default())?;
    }
    let number = found.kind.ok_or(Malformed::NoType)?;
    Ok(Message {
        kind: Kind::from_wire(number).ok_or(Malformed::Type(number))?,
        xid: take(header, 4),
        flags: take(header, 10),
        ciaddr: take::<4>(header, 12).into(),
        giaddr: take::<4>(header, 24).into(),
        chaddr,
        requested: found.requested,
        server_id: found.server_id,
        asked: found.asked,
        max_size: found.max_size,
        client_id: found.client_id,
        relay_info: found.relay_info,
    })
}

fn check_header(header: &[u8; HEADER]) -> Result<MacAddr, Malformed> {
    let [op, htype, hlen] = take(header, 0);
    if op != 1 {
        return Err(Malformed::Op(op));
    }
    if (htype, hlen) != (1, 6) {
        return Err(Malformed::Hardware(htype, hlen));
    }
    if take::<4>(header, 236) != COOKIE {
        return Err(Malformed::Cookie);
    }
    MacAddr::from_bytes(take(header, 28)).ok_or(Malformed::ClientAddress)
}

/// `N` bytes from `start`; zeros past the end, which no caller reaches.
fn take<const N: usize>(header: &[u8; HEADER], start: usize) -> [u8; N] {
    header.get(start..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

#[derive(Default)]
struct Options<'a> {
    kind: Option<u8>,
    requested: Option<Ipv4Addr>,
    server_id: Option<Ipv4Addr>,
    asked: Option<OptionSet>,
    max_size: Option<u16>,
    client_id: Option<&'a [u8]>,
    relay_info: Option<&'a [u8]>,
    overload: u8,
}

impl<'a> Options<'a> {
    fn read(&mut self, mut field: &'a [u8]) -> Result<(), Malformed> {
        while let Some((&code, rest)) = field.split_first() {
            field = rest;
            match code {
                options::PAD => continue,
                options::END => break,
                _ => {}
            }
            let (&length, rest) = field.split_first().ok_or(Malformed::Cut(code))?;
            let (value, rest) =
                rest.split_at_checked(usize::from(length)).ok_or(Malformed::Cut(code))?;
            self.set(code, value)?;
            field = rest;
        }
        Ok(())
    }

    fn set(&mut self, code: u8, value: &'a [u8]) -> Result<(), Malformed> {
        match code {
            options::MESSAGE_TYPE => self.kind = Some(fixed::<1>(code, value)?[0]),
            options::REQUESTED_ADDRESS => self.requested = Some(fixed::<4>(code, value)?.into()),
            options::SERVER_ID => self.server_id = Some(fixed::<4>(code, value)?.into()),
            options::MAX_SIZE => self.max_size = Some(u16::from_be_bytes(fixed(code, value)?)),
            options::OVERLOAD => self.overload = fixed::<1>(code, value)?[0],
            options::PARAMETER_LIST => self.ask(value),
            options::CLIENT_ID => self.client_id = Some(value),
            // one in two parts (RFC 3396) would have to be echoed joined: no relay sends 255 bytes
            options::RELAY_INFO if self.relay_info.is_some() => {
                return Err(Malformed::Length(code));
            }
            options::RELAY_INFO => self.relay_info = Some(value),
            _ => {}
        }
        Ok(())
    }

    fn ask(&mut self, codes: &[u8]) {
        let asked = self.asked.get_or_insert_default();
        for &code in codes {
            asked.insert(code);
        }
    }
}

fn fixed<const N: usize>(code: u8, value: &[u8]) -> Result<[u8; N], Malformed> {
    value.try_into().map_err(|_| Malformed::Length(code))
}
