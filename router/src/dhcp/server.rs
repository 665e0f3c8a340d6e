//! The server's decisions: one message in, at most one reply out.
//!
//! Guarantees: pure and total (no clock, no I/O, no panic); a MAC is answered only on the link of its own network; what a
//! spoofed field can cause is confined to the network that the message came from, because replies are only routed to
//! addresses of that network. Not here: who may speak for a MAC, which is the hypervisor's anti-spoofing.

mod lending;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use dhcproto::v4::DhcpOption;
use sluice_api::types::{LinkName, MacAddr};

use lending::Lending;

use super::counters::Counters;
use super::index::{Index, Lease, Network, Segment};
use super::lent::{Change, Lent};
use super::options::Encoded;
use super::pools::Pools;
use super::reply::{Boot, Head, ReplyKind, Writer};
use super::slice::DhcpSlice;
use super::state::State;
use super::told::Told;
use super::wire::{Kind, Malformed, Message, decode};
use super::{CLIENT_PORT, SERVER_PORT};

/// Where the client's address stands in a message (RFC 2131 2).
const CHADDR: usize = 28;

/// A datagram that came in on port 67.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The link it came in by.
    pub link: &'a LinkName,
    /// Source address of the packet; 0.0.0.0 from a client without one.
    pub source: Ipv4Addr,
    /// The datagram's content.
    pub bytes: &'a [u8],
}

/// Where a reply goes, always by the link that the message came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To 255.255.255.255 port 68, Ethernet broadcast.
    Broadcast,
    /// To `address` port 68 in a frame to `mac`: the client does not answer ARP for the address yet.
    Hardware {
        /// The client.
        mac: MacAddr,
        /// The address it is given.
        address: Ipv4Addr,
    },
    /// Ordinary unicast: to a relay or to a client that has its address.
    Routed(SocketAddrV4),
}

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Source address: the router's own in that network.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Destination,
    /// Content of the datagram.
    pub bytes: Vec<u8>,
}

impl Reply {
    /// The client that it is for.
    pub fn client(&self) -> Option<MacAddr> {
        let bytes = self.bytes.get(CHADDR..)?.first_chunk()?;
        MacAddr::from_bytes(*bytes)
    }
}

/// What one message led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The reply, if there is one.
    pub reply: Option<Reply>,
    /// What happened, for the log.
    pub event: Event,
    /// The reply gives an address that nobody is known to use, and somebody might: it is to be sent only when no other
    /// host answers for it and [`Server::prove`] agrees, else [`Server::occupied`] is to be told and the message handled again
    /// (RFC 2131 2.2). If the link cannot be asked, there is no reply, and the address is asked about at the next message.
    pub probe: Option<Ipv4Addr>,
}

/// What happened, with what a log line needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An address was offered.
    Offered(MacAddr, Ipv4Addr),
    /// An address was confirmed.
    Acked(MacAddr, Ipv4Addr),
    /// Parameters were given to a client that has an address.
    Informed(MacAddr, Ipv4Addr),
    /// A client was told that the address it wants is not its own.
    Refused(MacAddr, Ipv4Addr, NakReason),
    /// A guest found its address in use by somebody else: a fault in the network.
    Declined(MacAddr, Ipv4Addr),
    /// A guest gave its address back.
    Released(MacAddr, Ipv4Addr),
    /// A message was not answered.
    Dropped(DropReason),
}

/// Why a client got a NAK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NakReason {
    /// It chose an address that we did not offer.
    NotOffered,
    /// It remembers an address that is not its own here.
    NotItsOwn,
    /// It renews an address that is not, or no longer, its own.
    NoLonger,
}

/// Why a message was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Not a client's DHCP message.
    Malformed(Malformed),
    /// Came by a link without a network.
    NoNetwork,
    /// The configuration does not name this client on this network.
    UnknownClient(MacAddr),
    /// The relay's address is not in the network that the message came from.
    ForeignRelay(MacAddr, Ipv4Addr),
    /// Meant for another server.
    OtherServer(MacAddr),
    /// A request without any address.
    NoAddress(MacAddr),
    /// A release, decline or inform about an address that is not the client's.
    ForeignAddress(MacAddr),
    /// Declined its address less than [`super::DECLINE_HOLD`] ago.
    Held(MacAddr),
    /// Nothing is left to lend.
    Exhausted(MacAddr),
}

impl DropReason {
    /// Lower-case name, as in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::NoNetwork => "no-network",
            Self::UnknownClient(_) => "unknown-client",
            Self::ForeignRelay(..) => "foreign-relay",
            Self::OtherServer(_) => "other-server",
            Self::NoAddress(_) => "no-address",
            Self::ForeignAddress(_) => "foreign-address",
            Self::Held(_) => "declined-before",
            Self::Exhausted(_) => "pool-exhausted",
        }
    }
}

/// The server: an index of the configuration, and what is remembered for accounting.
#[derive(Clone, Debug)]
pub struct Server {
    index: Index,
    state: State,
    lent: Lent,
    counters: Counters,
}

/// A message, and the guest and network that it belongs to.
struct Query<'a> {
    message: &'a Message<'a>,
    network: &'a Network,
    guest: &'a Lease,
    source: Ipv4Addr,
}

/// Who a message is from.
enum Client<'a> {
    /// One that the configuration names, in the network that its address is of.
    Listed(&'a Network, &'a Lease),
    /// Another one, where addresses are lent.
    Guest(&'a Pools),
}

/// What to do about a message.
enum Verdict {
    Offer,
    Ack,
    Inform(Ipv4Addr),
    Nak(Ipv4Addr, NakReason),
    Decline,
    Release,
    Drop(DropReason),
}

impl Server {
    /// A server of `slice`; costs one pass over its guests.
    pub fn new(slice: &DhcpSlice) -> Self {
        Self {
            index: Index::new(slice),
            state: State::default(),
            lent: Lent::default(),
            counters: Counters::default(),
        }
    }

    /// Answers from `slice` from now on. What is remembered is kept for guests whose address stays.
    pub fn replace(&mut self, slice: &DhcpSlice) {
        let new = Index::new(slice);
        let old = std::mem::replace(&mut self.index, new);
        self.state.retain(|link, mac| self.index.agrees(&old, link, mac));
        self.lent.retain(|link| self.index.pools(link));
    }

    /// Takes over loans that were written down before a restart; those that are lent no more are left out.
    pub fn restore(&mut self, loans: impl IntoIterator<Item = Change>) {
        self.lent.restore(loans);
        self.lent.retain(|link| self.index.pools(link));
    }

    /// What was lent and given back since this was asked last. It is to be written down before the replies are sent.
    pub fn changes(&mut self) -> Vec<Change> {
        self.lent.changes()
    }

    /// Everything that is lent now.
    pub fn loans(&self, now: Duration) -> impl Iterator<Item = Change> {
        self.lent.all(now)
    }

    /// How many addresses may be lent, in all networks.
    pub fn capacity(&self) -> usize {
        self.index.capacity()
    }

    /// `address` turned out to be in use by `user`: it is lent to nobody else for [`super::QUARANTINE`].
    pub fn occupied(&mut self, now: Duration, link: &LinkName, address: Ipv4Addr, user: MacAddr) {
        if self.index.pools(link).is_some_and(|pools| pools.lends(address)) {
            self.lent.quarantine(now, link, address, user);
        }
    }

    /// Nobody but `mac` answered for `address`: whether the reply that gives it may be sent. Not if the address has become
    /// another's in the meantime, or was declined.
    pub fn prove(&mut self, link: &LinkName, mac: MacAddr, address: Ipv4Addr) -> bool {
        self.lent.prove(link, mac, address)
    }

    /// Totals since the start; a new configuration does not reset them.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Leases that were taken since the start and have not run out or been given back.
    pub fn active_leases(&self, now: Duration) -> usize {
        self.state.active(now) + self.lent.active(now)
    }

    /// Handles one datagram. `now` is the time since any fixed instant and must not run backwards.
    pub fn handle(&mut self, now: Duration, arrival: Arrival<'_>) -> Outcome {
        let outcome = match decode(arrival.bytes) {
            Ok(message) => {
                Counters::bump(&mut self.counters.received, message.kind.name());
                self.answer(now, &message, arrival)
            }
            Err(error) => Err(DropReason::Malformed(error)),
        };
        outcome.unwrap_or_else(|reason| {
            Counters::bump(&mut self.counters.dropped, reason.name());
            Outcome { reply: None, event: Event::Dropped(reason), probe: None }
        })
    }

    fn answer(
        &mut self,
        now: Duration,
        message: &Message<'_>,
        arrival: Arrival<'_>,
    ) -> Result<Outcome, DropReason> {
        let segment = self.index.segment(arrival.link).ok_or(DropReason::NoNetwork)?;
        let client = find(segment, message)?;
        if message.is_relayed() && segment.of_host(message.giaddr).is_none() {
            return Err(DropReason::ForeignRelay(message.chaddr, message.giaddr));
        }
        let (network, guest) = match client {
            Client::Listed(network, guest) => (network, guest),
            Client::Guest(pools) => {
                let lending = Lending { now, link: arrival.link, pools, segment, message };
                let (built, event, probe) = lending.answer(&mut self.lent, arrival.source)?;
                return Ok(Outcome { probe, ..self.count(built, event) });
            }
        };
        let query = Query { message, network, guest, source: arrival.source };
        let (link, mac, address) = (arrival.link, message.chaddr, query.guest.address);
        let held = self.state.is_held(now, link, mac) && !query.renews();
        let verdict = if held { Verdict::Drop(DropReason::Held(mac)) } else { query.verdict() };
        let (reply, event) = match verdict {
            Verdict::Offer => (Some(query.grant(ReplyKind::Offer)), Event::Offered(mac, address)),
            Verdict::Ack => {
                self.state.acked(now, link, mac, query.told().lease);
                (Some(query.grant(ReplyKind::Ack)), Event::Acked(mac, address))
            }
            Verdict::Inform(to) => (Some(query.inform(to)), Event::Informed(mac, to)),
            Verdict::Nak(asked, why) => (Some(query.nak(why)), Event::Refused(mac, asked, why)),
            Verdict::Decline => {
                self.state.declined(now, link, mac);
                (None, Event::Declined(mac, address))
            }
            Verdict::Release => {
                self.state.released(now, link, mac);
                (None, Event::Released(mac, address))
            }
            Verdict::Drop(reason) => return Err(reason),
        };
        Ok(self.count(reply, event))
    }

    fn count(&mut self, built: Option<Built>, event: Event) -> Outcome {
        let reply = built.map(|built| {
            Counters::bump(&mut self.counters.sent, built.kind.name());
            self.counters.options_omitted += built.omitted;
            built.reply
        });
        Outcome { reply, event, probe: None }
    }
}

/// A reply and what is to be counted about it.
struct Built {
    kind: ReplyKind,
    omitted: u64,
    reply: Reply,
}

fn find<'a>(segment: &'a Segment, message: &Message<'_>) -> Result<Client<'a>, DropReason> {
    let mac = message.chaddr;
    let listed = segment.guest(mac).map(|(network, guest)| Client::Listed(network, guest));
    let relay = message.is_relayed().then_some(message.giaddr);
    let lent = || segment.pools(relay).map(Client::Guest);
    listed.or_else(lent).ok_or(DropReason::UnknownClient(mac))
}

impl Query<'_> {
    fn verdict(&self) -> Verdict {
        match self.message.kind {
            Kind::Discover => Verdict::Offer,
            Kind::Request => self.request(),
            Kind::Inform => self.informed(),
            Kind::Decline => self.about(self.message.requested, Verdict::Decline),
            Kind::Release => self.about(Some(self.message.ciaddr), Verdict::Release),
        }
    }

    /// True for a guest that uses its address, and so has not declined it: whoever wrote the decline.
    fn renews(&self) -> bool {
        let (message, own) = (self.message, self.guest.address);
        matches!(message.kind, Kind::Request) && message.ciaddr == own && self.source == own
    }

    /// RFC 2131 4.3.2 tells the client's state by which fields are filled in.
    fn request(&self) -> Verdict {
        let message = self.message;
        let ciaddr = Some(message.ciaddr).filter(|address| !address.is_unspecified());
        let (asked, why) = match (message.server_id, message.requested, ciaddr) {
            (Some(server), ..) if server != self.network.server => {
                return Verdict::Drop(DropReason::OtherServer(message.chaddr));
            }
            (Some(_), Some(asked), _) | (Some(_), None, Some(asked)) => {
                (asked, NakReason::NotOffered)
            }
            (None, _, Some(ciaddr)) => (ciaddr, NakReason::NoLonger),
            (None, Some(asked), None) => (asked, NakReason::NotItsOwn),
            (_, None, None) => return Verdict::Drop(DropReason::NoAddress(message.chaddr)),
        };
        if asked == self.guest.address { Verdict::Ack } else { Verdict::Nak(asked, why) }
    }

    /// A client may hold an address that we did not give it (RFC 2131 4.3.5), but only one of this network: anything else
    /// would have us send to whoever the client names.
    fn informed(&self) -> Verdict {
        let ciaddr = self.message.ciaddr;
        let address = if ciaddr.is_unspecified() { self.source } else { ciaddr };
        if self.network.has_host(address) {
            Verdict::Inform(address)
        } else {
            Verdict::Drop(DropReason::ForeignAddress(self.message.chaddr))
        }
    }

    /// `verdict` when the message is about the guest's own address and for us.
    fn about(&self, address: Option<Ipv4Addr>, verdict: Verdict) -> Verdict {
        let mac = self.message.chaddr;
        if self.message.server_id.is_some_and(|server| server != self.network.server) {
            return Verdict::Drop(DropReason::OtherServer(mac));
        }
        if address == Some(self.guest.address) {
            verdict
        } else {
            Verdict::Drop(DropReason::ForeignAddress(mac))
        }
    }

    fn grant(&self, kind: ReplyKind) -> Built {
        let ciaddr = match kind {
            // what matches the lease is echoed; anything else is a client's mistake that an offer must not repeat
            ReplyKind::Ack if self.message.ciaddr == self.guest.address => self.message.ciaddr,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let mut writer = self.writer(kind, self.guest.address, ciaddr);
        if let [lease, rest @ ..] = self.told().timing.as_slice() {
            writer.add(lease);
            writer.all_asked(rest);
        }
        self.parameters(&mut writer);
        let direct = if ciaddr.is_unspecified() {
            self.to_hardware(self.guest.address)
        } else {
            Destination::Routed(SocketAddrV4::new(ciaddr, CLIENT_PORT))
        };
        self.built(kind, writer, direct)
    }

    fn inform(&self, to: Ipv4Addr) -> Built {
        let mut writer = self.writer(ReplyKind::Ack, Ipv4Addr::UNSPECIFIED, self.message.ciaddr);
        self.parameters(&mut writer);
        let direct = Destination::Routed(SocketAddrV4::new(to, CLIENT_PORT));
        self.built(ReplyKind::Ack, writer, direct)
    }

    fn nak(&self, why: NakReason) -> Built {
        let none = Ipv4Addr::UNSPECIFIED;
        let mut writer = self.writer(ReplyKind::Nak, none, none);
        if let Some(text) = Encoded::new(&DhcpOption::Message(why.text().to_owned())) {
            writer.add(&text);
        }
        self.built(ReplyKind::Nak, writer, Destination::Broadcast)
    }

    fn writer(&self, kind: ReplyKind, yiaddr: Ipv4Addr, ciaddr: Ipv4Addr) -> Writer<'_> {
        let (server, mtu) = (self.network.server, self.network.mtu);
        let broadcast = kind == ReplyKind::Nak && self.message.is_relayed();
        // a NAK tells of nothing else (RFC 2131 table 3)
        let boot = self.told().boot.as_ref().filter(|_| kind != ReplyKind::Nak);
        let boot = boot.map(|boot| Boot {
            server: boot.next_server,
            file: boot.file.as_ref().map_or(&[], |file| file.as_str().as_bytes()),
        });
        let boot = boot.unwrap_or_default();
        Writer::new(self.message, &Head { kind, server, yiaddr, ciaddr, boot, mtu, broadcast })
    }

    /// The options that do not depend on having a lease. The mask is always given: without it an address is of no use.
    fn parameters(&self, writer: &mut Writer<'_>) {
        if let [mask, rest @ ..] = self.told().options.as_slice() {
            writer.add(mask);
            // before what may be long
            writer.all_asked(&self.guest.hostname);
            writer.all_asked(rest);
        }
    }

    fn told(&self) -> &Told {
        self.network.told(self.guest)
    }

    fn to_hardware(&self, address: Ipv4Addr) -> Destination {
        if self.message.wants_broadcast() {
            Destination::Broadcast
        } else {
            Destination::Hardware { mac: self.message.chaddr, address }
        }
    }

    /// RFC 2131 4.1: a relay comes before anything else.
    fn built(&self, kind: ReplyKind, writer: Writer<'_>, direct: Destination) -> Built {
        let destination = if self.message.is_relayed() {
            Destination::Routed(SocketAddrV4::new(self.message.giaddr, SERVER_PORT))
        } else {
            direct
        };
        let omitted = writer.omitted;
        let bytes = writer.finish();
        Built { kind, omitted, reply: Reply { source: self.network.server, destination, bytes } }
    }
}

impl NakReason {
    /// The text of option 56, for whoever reads the client's log.
    const fn text(self) -> &'static str {
        match self {
            Self::NotOffered => "this address was not offered to you",
            Self::NotItsOwn => "this address is not yours on this network",
            Self::NoLonger => "this address is no longer yours",
        }
    }
}
