//! A client's message, read by dhcproto.
//!
//! dhcproto's borrowing reader is used, which takes options one by one as they stand in the datagram: its owning one gives
//! up at the first option that it cannot make a value of, and clients in the field send such. Ours is only what that reader
//! does not do: the header fields `file` and `sname` as room for further options (RFC 2131 4.1), and the judgement of what
//! may be answered.
//!
//! Guarantees: no input panics; a message that decodes has a type and an Ethernet client. Tolerated, because clients do it:
//! no end option, anything after it, options we do not know, a last one that is cut off. Refused: one of ours with a wrong
//! length; a guess there could hand out an address.

use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::{self, DhcpOption, DhcpOptionIterator};
use dhcproto::v4::{Flags, HType, MAGIC, Opcode, OptionCode};
use sluice_api::types::MacAddr;
use thiserror::Error;

use super::options::OptionSet;

/// Where the magic cookie is (RFC 2132 2).
const COOKIE: std::ops::Range<usize> = 236..240;
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
    /// An option with a length that it cannot have, or one that no reply has room for, or twice where that has no meaning.
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
#[derive(Debug)]
pub struct Message<'a> {
    /// Option 53.
    pub kind: Kind,
    /// Transaction id, copied into the reply.
    pub xid: u32,
    /// Flags as sent; only the broadcast bit means anything.
    pub flags: Flags,
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
    client_id: Option<DhcpOption<'a>>,
    relay_info: Option<DhcpOption<'a>>,
}

impl Message<'_> {
    /// True when the client cannot take unicast before it has its address (RFC 2131 2, figure 2).
    pub fn wants_broadcast(&self) -> bool {
        self.flags.broadcast()
    }

    /// True when it came through a relay.
    pub fn is_relayed(&self) -> bool {
        !self.giaddr.is_unspecified()
    }

    /// Option 61, only to be echoed (RFC 6842).
    pub fn client_id(&self) -> Option<&[u8]> {
        self.client_id.as_ref().map(DhcpOption::data)
    }

    /// Option 82, only to be echoed (RFC 3046 2.2).
    pub fn relay_info(&self) -> Option<&[u8]> {
        self.relay_info.as_ref().map(DhcpOption::data)
    }
}

/// Decodes what a client sent.
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let read = borrowed::Message::new(bytes).map_err(|_| Malformed::Short(bytes.len()))?;
    let chaddr = check_header(bytes, &read)?;
    let mut found = Options::default();
    found.read(read.opts())?;
    // RFC 2131 4.1: the two header fields are read after the options, `file` first
    for (bit, field) in [(1, FILE), (2, SNAME)] {
        if found.overload & bit != 0 {
            found.read(DhcpOptionIterator::new(bytes.get(field).unwrap_or_default()))?;
        }
    }
    let number = found.kind.ok_or(Malformed::NoType)?;
    Ok(Message {
        kind: Kind::from_wire(number).ok_or(Malformed::Type(number))?,
        xid: read.xid(),
        flags: read.flags(),
        ciaddr: read.ciaddr(),
        giaddr: read.giaddr(),
        chaddr,
        requested: found.requested,
        server_id: found.server_id,
        asked: found.asked,
        max_size: found.max_size,
        client_id: found.client_id,
        relay_info: found.relay_info,
    })
}

fn check_header(bytes: &[u8], read: &borrowed::Message<'_>) -> Result<MacAddr, Malformed> {
    if read.opcode() != Opcode::BootRequest {
        return Err(Malformed::Op(read.opcode().into()));
    }
    // before the address is asked for: the reader trusts the length
    if (read.htype(), read.hlen()) != (HType::Eth, 6) {
        return Err(Malformed::Hardware(read.htype().into(), read.hlen()));
    }
    if bytes.get(COOKIE) != Some(MAGIC.as_slice()) {
        return Err(Malformed::Cookie);
    }
    let chaddr = read.chaddr().first_chunk().copied();
    chaddr.and_then(MacAddr::from_bytes).ok_or(Malformed::ClientAddress)
}

/// Longest option 82 that fits into the least reply that every client takes (576 bytes of IP, RFC 2131 2), beside the headers,
/// the fixed part and options 53, 54 and the end; above 255 bytes it comes in two parts (RFC 3396).
const MOST_RELAY_INFO: usize = 576 - 28 - 240 - 3 - 6 - 1 - 2 * 2;

#[derive(Default)]
struct Options<'a> {
    kind: Option<u8>,
    requested: Option<Ipv4Addr>,
    server_id: Option<Ipv4Addr>,
    asked: Option<OptionSet>,
    max_size: Option<u16>,
    client_id: Option<DhcpOption<'a>>,
    relay_info: Option<DhcpOption<'a>>,
    overload: u8,
}

impl<'a> Options<'a> {
    fn read(&mut self, options: DhcpOptionIterator<'a>) -> Result<(), Malformed> {
        for option in options {
            match option.code() {
                OptionCode::MessageType => self.kind = Some(fixed::<1>(&option)?[0]),
                OptionCode::RequestedIpAddress => {
                    self.requested = Some(fixed::<4>(&option)?.into());
                }
                OptionCode::ServerIdentifier => self.server_id = Some(fixed::<4>(&option)?.into()),
                OptionCode::MaxMessageSize => {
                    self.max_size = Some(u16::from_be_bytes(fixed(&option)?));
                }
                OptionCode::OptionOverload => self.overload = fixed::<1>(&option)?[0],
                OptionCode::ParameterRequestList => self.ask(option.data()),
                OptionCode::ClientIdentifier => self.client_id = Some(option),
                // apart from each other there is no saying in which order they are one
                OptionCode::RelayAgentInformation if self.relay_info.is_some() => {
                    return Err(Malformed::Length(option.code().into()));
                }
                // it must be given back whole (RFC 3046 2.2), so there is no reply to one that does not fit
                OptionCode::RelayAgentInformation if option.data().len() > MOST_RELAY_INFO => {
                    return Err(Malformed::Length(option.code().into()));
                }
                OptionCode::RelayAgentInformation => self.relay_info = Some(option),
                _ => {}
            }
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

fn fixed<const N: usize>(option: &DhcpOption<'_>) -> Result<[u8; N], Malformed> {
    option.data().try_into().map_err(|_| Malformed::Length(option.code().into()))
}
