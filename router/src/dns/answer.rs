//! The answering core: one configuration, one cache, one query and the time in; an answer, a question for upstreams or
//! nothing out.
//!
//! Guarantees: no I/O, no clock, no panic on any bytes. Only a network's own guests, asking the router's address in it,
//! get an answer at all: to everybody else the service is silent, so that forged sources gain nothing and nobody learns
//! that it is there. Zone transfers are always refused.

use std::net::IpAddr;

use super::cache::{Cache, Key};
use super::counters::Tally;
use super::name::Name;
use super::query::{Fault, Query, header};
use super::reply::{Ede, Reply, Section, Transport, faulty};
use super::snapshot::{DATA_SERVER, Network, Snapshot};
use super::special;
use super::stored::Stored;
use super::wire::{CLASS_IN, ede, flag, rcode, rtype};
use super::zone::{Node, Record, View, Wire, Zone};

/// One message and how it came.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The network whose address it was sent to.
    pub network: &'a Network,
    /// Its bytes.
    pub message: &'a [u8],
    /// Who sent it.
    pub client: IpAddr,
    /// The router's address it was sent to.
    pub local: IpAddr,
    /// How.
    pub transport: Transport,
    /// Seconds since the service's start.
    pub now: u32,
}

/// What to do with a message.
pub enum Verdict {
    /// Send the first so many bytes of the buffer back.
    Answered(usize),
    /// Ask an upstream this, then complete the answer by [`super::forward`].
    Forward(Key),
    /// Nothing.
    Drop,
}

/// Decides on `request` and writes the answer, if there is one, to `out`, which should hold 1232 bytes for UDP and 65535
/// for TCP.
pub fn answer(
    snapshot: &Snapshot,
    cache: &Cache,
    request: &Request<'_>,
    tally: &mut Tally,
    out: &mut [u8],
) -> Verdict {
    tally.queries += 1;
    if !request.network.admits(request.local, request.client) {
        tally.strangers += 1;
        return Verdict::Drop;
    }
    match Query::read(request.message) {
        Ok(query) => Core { snapshot, cache, request, query: &query }.answer(tally, out),
        Err(fault) => {
            tally.malformed += 1;
            refuse(request.message, fault, out)
        }
    }
}

fn refuse(message: &[u8], fault: Fault<'_>, out: &mut [u8]) -> Verdict {
    match (fault, header(message)) {
        (Fault::Code { rcode, question, edns }, Some(header)) => {
            sent(faulty(header, rcode, question, edns, out))
        }
        _ => Verdict::Drop,
    }
}

fn sent(length: usize) -> Verdict {
    if length == 0 { Verdict::Drop } else { Verdict::Answered(length) }
}

struct Core<'a> {
    snapshot: &'a Snapshot,
    cache: &'a Cache,
    request: &'a Request<'a>,
    query: &'a Query<'a>,
}

impl Core<'_> {
    fn answer(&self, tally: &mut Tally, out: &mut [u8]) -> Verdict {
        if let Some(code) = self.unanswerable() {
            tally.refused += 1;
            return self.code(code, None, out);
        }
        if self.snapshot.may_own(&self.query.name)
            && let Some(verdict) = self.local(tally, out)
        {
            return verdict;
        }
        self.foreign(tally, out)
    }

    /// The code for questions that no name has an answer to.
    fn unanswerable(&self) -> Option<u16> {
        let query = self.query;
        match query.qtype {
            _ if query.edns.is_some_and(|edns| edns.version != 0) => Some(rcode::BADVERS),
            0 | rtype::OPT => Some(rcode::FORMERR),
            // TKEY, TSIG, transfers and the obsolete mailbox types (RFC 6895 3.1)
            249..=254 => Some(rcode::REFUSED),
            _ if query.qclass != CLASS_IN => Some(rcode::REFUSED),
            _ => None,
        }
    }

    /// Names that the router itself knows something about.
    fn local(&self, tally: &mut Tally, out: &mut [u8]) -> Option<Verdict> {
        let name = &self.query.name;
        let view = self.snapshot.view(self.request.network, name)?;
        let verdict = if let Some(node) = view.node(name).or_else(|| view.wildcard(name)) {
            self.node(view, node, out)
        } else if let Some(zone) = view.zone_of(name) {
            self.negative(zone, rcode::NXDOMAIN, out)
        } else if is_localhost(name) {
            self.localhost(out)
        } else if is_data_server(name) {
            self.records(view, &self.request.network.router, out)
        } else if self.snapshot.is_ours(name) {
            tally.refused += 1;
            return Some(self.code(rcode::REFUSED, Some(OTHER_DOMAIN), out));
        } else if self.snapshot.is_forwarded(name) {
            return None;
        } else {
            self.special(out)?
        };
        tally.local += 1;
        Some(verdict)
    }

    fn node(&self, view: &View, node: &Node, out: &mut [u8]) -> Verdict {
        match node {
            Node::One(record) => self.records(view, [record], out),
            Node::Several(records) => self.several(view, records, out),
            Node::Alias(record, target) => self.alias(view, record, target, out),
            Node::Router => self.records(view, &self.request.network.router, out),
            Node::Apex(index) => {
                view.zone(*index).map_or(Verdict::Drop, |zone| self.apex(zone, out))
            }
            Node::Empty => self.records(view, [], out),
        }
    }

    /// The address in the asker's own network first: clients that take one take that.
    fn several(&self, view: &View, records: &[Record], out: &mut [u8]) -> Verdict {
        let network = self.request.network;
        let is_own = |record: &&Record| record.ipv4().is_some_and(|address| network.holds(address));
        let own = records.iter().filter(is_own);
        let others = records.iter().filter(|record| !is_own(record));
        self.records(view, own.chain(others), out)
    }

    /// The alias, and what it stands for: who asks does not look for that itself.
    fn alias(&self, view: &View, record: &Record, target: &Wire, out: &mut [u8]) -> Verdict {
        let Some(mut reply) = self.reply(out) else { return Verdict::Drop };
        reply.record(Section::Answer, &[&record.bytes]);
        if self.asks_for(record.rtype) {
            return sent(reply.finish());
        }
        let mut target = target;
        for _ in 0..MAX_ALIASES {
            let node = Name::read(target, 0)
                .and_then(|(name, _)| view.node(&name).or_else(|| view.wildcard(&name)));
            let records = match node {
                Some(Node::One(record)) => std::slice::from_ref(record),
                Some(Node::Several(records)) => records.as_slice(),
                Some(Node::Router) => self.request.network.router.as_slice(),
                Some(Node::Alias(record, next)) => {
                    reply.record(Section::Answer, &[target, record.without_owner()]);
                    target = next;
                    continue;
                }
                Some(Node::Apex(_) | Node::Empty) | None => &[],
            };
            for record in records.iter().filter(|record| self.asks_for(record.rtype)) {
                reply.record(Section::Answer, &[target, record.without_owner()]);
            }
            break;
        }
        sent(reply.finish())
    }

    /// Those of `records` that are asked for, or "nothing of this type".
    fn records<'r>(
        &self,
        view: &View,
        records: impl IntoIterator<Item = &'r Record>,
        out: &mut [u8],
    ) -> Verdict {
        let Some(mut reply) = self.reply(out) else { return Verdict::Drop };
        let mut found = false;
        for record in records.into_iter().filter(|record| self.asks_for(record.rtype)) {
            reply.record(Section::Answer, &[&record.bytes]);
            found = true;
        }
        let name = &self.query.name;
        let zone = || view.zone_of(name).or_else(|| self.snapshot.special().zone_of(name));
        if !found && let Some(zone) = zone() {
            reply.record(Section::Authority, &[&zone.soa]);
        }
        sent(reply.finish())
    }

    fn apex(&self, zone: &Zone, out: &mut [u8]) -> Verdict {
        let Some(mut reply) = self.reply(out) else { return Verdict::Drop };
        let (soa, ns) = (self.asks_for(rtype::SOA), self.asks_for(rtype::NS) && zone.ns.is_some());
        let section = if soa { Section::Answer } else { Section::Authority };
        if soa || !ns {
            reply.record(section, &[&zone.soa]);
        }
        if let Some(record) = zone.ns.as_ref().filter(|_| ns) {
            reply.record(Section::Answer, &[record]);
        }
        sent(reply.finish())
    }

    /// No such name, or nothing of this type, with the SOA that says for how long (RFC 2308 2).
    fn negative(&self, zone: &Zone, code: u16, out: &mut [u8]) -> Verdict {
        let Some(reply) = self.reply(out) else { return Verdict::Drop };
        let mut reply = reply.rcode(code);
        reply.record(Section::Authority, &[&zone.soa]);
        sent(reply.finish())
    }

    fn localhost(&self, out: &mut [u8]) -> Verdict {
        let addresses = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        let Some(mut reply) = self.reply(out) else { return Verdict::Drop };
        for record in addresses.map(|address| Record::of_address(address, LOCALHOST_TTL)) {
            if self.asks_for(record.rtype) {
                reply.record(Section::Answer, &[&record.bytes]);
            }
        }
        sent(reply.finish())
    }

    fn special(&self, out: &mut [u8]) -> Option<Verdict> {
        let view = self.snapshot.special();
        if let Some(node) = view.node(&self.query.name) {
            return Some(self.node(view, node, out));
        }
        view.zone_of(&self.query.name).map(|zone| self.negative(zone, rcode::NXDOMAIN, out))
    }

    /// Names of the rest of the world.
    fn foreign(&self, tally: &mut Tally, out: &mut [u8]) -> Verdict {
        let query = self.query;
        let bare = query.name.labels() == 1 && matches!(query.qtype, rtype::A | rtype::AAAA);
        if bare && !self.snapshot.is_forwarded(&query.name) {
            // a bare host name: its search domain has been tried, and it is nobody else's business
            tally.local += 1;
            return self.code(rcode::NXDOMAIN, None, out);
        }
        let group = self.snapshot.group(self.request.network, &query.name);
        let Some(group) = group.filter(|_| query.has(flag::RD)) else {
            tally.refused += 1;
            return self.code(rcode::REFUSED, Some(NOT_FORWARDED), out);
        };
        let (transport, now) = (self.request.transport, self.request.now);
        let answer = |stored: &Stored, age| stored.answer(query, transport, age, out);
        let hit = self.cache.get(query, group, now, answer);
        if let Some(length) = hit {
            tally.hits += 1;
            return sent(length);
        }
        tally.misses += 1;
        Verdict::Forward(Key::of(query, group))
    }

    fn code(&self, code: u16, ede: Option<Ede<'_>>, out: &mut [u8]) -> Verdict {
        let Some(reply) = Reply::new(self.query, self.request.transport, out) else {
            return Verdict::Drop;
        };
        sent(reply.flags(self.recursion()).rcode(code).ede(ede).finish())
    }

    fn reply<'o>(&'o self, out: &'o mut [u8]) -> Option<Reply<'o>> {
        let reply = Reply::new(self.query, self.request.transport, out)?;
        Some(reply.flags(flag::AA | self.recursion()))
    }

    fn recursion(&self) -> u16 {
        if self.snapshot.forwards(self.request.network) { flag::RA } else { 0 }
    }

    fn asks_for(&self, rtype: u16) -> bool {
        self.query.qtype == rtype || self.query.qtype == rtype::ANY
    }
}

/// Longest chain of aliases that is followed; a longer one, or one that goes round, is cut there.
const MAX_ALIASES: usize = 8;
/// As BIND and others give it.
const LOCALHOST_TTL: u32 = 86_400;
const OTHER_DOMAIN: Ede<'_> = Ede { code: ede::PROHIBITED, text: b"a domain of another network" };
const NOT_FORWARDED: Ede<'_> =
    Ede { code: ede::NOT_AUTHORITATIVE, text: b"names of the guest domain only" };

/// `data-server` as clients ask for it that add a final dot, and so go past their search domain.
fn is_data_server(name: &Name) -> bool {
    name.as_bytes() == DATA_SERVER
}

fn is_localhost(name: &Name) -> bool {
    let (length, label) = name.top().split_first().unwrap_or((&0, &[]));
    label.get(..usize::from(*length)) == Some(special::LOCALHOST.as_bytes())
}
