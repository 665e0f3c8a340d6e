//! A day of virtual time on the DHCP core: guests that join, renew, reboot, move to another network and leave, messages that
//! get lost, configurations that change, servers that are rebuilt from nothing.
//!
//! What must hold at every moment: an address is confirmed to its rightful owner alone, a rightful owner is never refused,
//! and whoever holds an address that it lost had it confirmed before.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that cannot be set up fails

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{self, DhcpOption, MessageType, OptionCode};
use dhcproto::{Decodable, Encodable};
use sluice_api::types::{LinkName, MacAddr};
use sluice_router::dhcp::{Arrival, DhcpSlice, Reservation, Server, slice};

const GUESTS: usize = 120;
const NETWORKS: usize = 2;
const DAY: u64 = 24 * 3600;
const LEASE: u64 = 3600;

/// xorshift64: the same day in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }
}

/// A client, as far as RFC 2131 figure 5 matters here.
#[derive(Clone, Default)]
struct Client {
    address: Option<Ipv4Addr>,
    acked: u64,
    /// Next time that it does something.
    wakes: u64,
    /// It remembers its address over a reboot.
    rebooted: bool,
}

struct Day {
    random: Random,
    /// By network.
    links: Vec<LinkName>,
    slice: DhcpSlice,
    server: Server,
    clients: HashMap<MacAddr, Client>,
    /// When an address last went from one guest to another.
    changed: HashMap<Ipv4Addr, u64>,
    now: u64,
    xid: u32,
    acks: u64,
    naks: u64,
    moved: u64,
}

fn mac(number: usize) -> MacAddr {
    let [.., high, low] = number.to_be_bytes();
    MacAddr::from_bytes([2, 0, 0, 7, high, low]).unwrap()
}

fn reservation(number: usize, address: Ipv4Addr) -> Reservation {
    let text = serde_json::json!({
        "mac": mac(number), "address": address, "hostname": format!("vm{number}"),
    });
    serde_json::from_value(text).unwrap()
}

impl Day {
    fn new(seed: u64) -> Self {
        let text = include_str!("../../examples/router.json");
        let mut slice = slice(&serde_json::from_str(text).unwrap());
        assert_eq!(slice.networks.len(), NETWORKS);
        for (at, network) in slice.networks.iter_mut().enumerate() {
            network.cidr = format!("10.{}.0.0/16", at + 1).parse().unwrap();
            network.gateway = format!("10.{}.0.1", at + 1).parse().unwrap();
            network.lease_seconds = LEASE.try_into().unwrap();
            let own = (0..GUESTS).filter(|number| number % NETWORKS == at);
            network.guests = own.map(|number| reservation(number, address(at, number))).collect();
        }
        let links = slice.networks.iter().map(|network| network.link.clone()).collect();
        let server = Server::new(&slice);
        let clients = (0..GUESTS).map(|number| (mac(number), Client::default())).collect();
        let (random, changed) = (Random(seed), HashMap::new());
        Self {
            random,
            links,
            slice,
            server,
            clients,
            changed,
            now: 0,
            xid: 0,
            acks: 0,
            naks: 0,
            moved: 0,
        }
    }

    fn owner(&self, address: Ipv4Addr) -> Option<MacAddr> {
        let mut guests = self.slice.networks.iter().flat_map(|network| &network.guests);
        guests.find(|guest| guest.address == address).map(|guest| guest.mac)
    }

    /// The network that a guest is in, and its place there.
    fn place(&self, who: MacAddr) -> (usize, usize) {
        let mut networks = self.slice.networks.iter().enumerate();
        let found = networks.find_map(|(at, network)| {
            Some((at, network.guests.iter().position(|guest| guest.mac == who)?))
        });
        found.unwrap()
    }

    /// Sends a message and gives the answer, unless either is lost on the way.
    fn say(
        &mut self,
        from: MacAddr,
        kind: MessageType,
        change: impl Fn(&mut v4::Message),
    ) -> Option<v4::Message> {
        self.xid += 1;
        let none = Ipv4Addr::UNSPECIFIED;
        let mut message = v4::Message::new_with_id(self.xid, none, none, none, none, &from.bytes());
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        change(&mut message);
        let (bytes, source) = (message.to_vec().unwrap(), message.ciaddr());
        if self.random.one_in(20) {
            return None;
        }
        let link = &self.links[self.place(from).0];
        let arrival = Arrival { link, source, bytes: &bytes };
        let reply = self.server.handle(Duration::from_secs(self.now), arrival).reply?;
        let answer = v4::Message::from_bytes(&reply.bytes).unwrap();
        self.judge(from, &message, &answer);
        (!self.random.one_in(20)).then_some(answer)
    }

    /// What the server may say.
    fn judge(&mut self, to: MacAddr, asked: &v4::Message, answer: &v4::Message) {
        match answer.opts().msg_type() {
            Some(MessageType::Offer | MessageType::Ack) => {
                assert_eq!(self.owner(answer.yiaddr()), Some(to), "somebody else's address");
                self.acks += 1;
            }
            Some(MessageType::Nak) => {
                let wanted = match asked.opts().get(OptionCode::RequestedIpAddress) {
                    Some(DhcpOption::RequestedIpAddress(address)) => *address,
                    _ => asked.ciaddr(),
                };
                assert_ne!(self.owner(wanted), Some(to), "a rightful owner was refused");
                self.naks += 1;
            }
            other => panic!("the server said {other:?}"),
        }
    }

    /// One client does what is due.
    fn wake(&mut self, who: MacAddr) {
        let client = self.clients[&who].clone();
        let answer = match client.address {
            Some(address) if client.rebooted => self.say(who, MessageType::Request, |message| {
                message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
            }),
            Some(address) => self.say(who, MessageType::Request, |message| {
                message.set_ciaddr(address);
            }),
            None => self.say(who, MessageType::Discover, |_| {}).and_then(|offer| {
                let server = offer.opts().get(OptionCode::ServerIdentifier).cloned();
                self.say(who, MessageType::Request, |message| {
                    message.opts_mut().insert(DhcpOption::RequestedIpAddress(offer.yiaddr()));
                    message.opts_mut().insert(server.clone().unwrap());
                })
            }),
        };
        let kind = answer.as_ref().and_then(|answer| answer.opts().msg_type());
        let client = self.clients.get_mut(&who).unwrap();
        match (kind, answer) {
            (Some(MessageType::Ack), Some(answer)) => {
                client.address = Some(answer.yiaddr());
                client.acked = self.now;
                client.rebooted = false;
                client.wakes = self.now + LEASE / 2;
            }
            (Some(MessageType::Nak), _) => {
                client.address = None;
                client.wakes = self.now + 1;
            }
            // silence: try again, and let go of the address when its time is over
            _ => {
                client.wakes = self.now + 30;
                if self.now >= client.acked + LEASE {
                    client.address = None;
                }
            }
        }
    }

    /// Something happens to the cloud.
    fn event(&mut self) {
        let number = usize::try_from(self.random.below(GUESTS as u64)).unwrap();
        let who = mac(number);
        match self.random.below(7) {
            0 => self.reboots(who),
            // rebuilt from nothing
            1 => self.server = Server::new(&self.slice),
            // the service is given another configuration: two guests of a network change places
            2 => {
                let other = mac(usize::try_from(self.random.below(GUESTS as u64)).unwrap());
                let ((network, one), (its, two)) = (self.place(who), self.place(other));
                if network == its {
                    let guests = &self.slice.networks[network].guests;
                    let (first, second) = (guests[one].address, guests[two].address);
                    self.assign(who, second);
                    self.assign(other, first);
                    self.server.replace(&self.slice);
                }
            }
            // a guest goes and another comes with its address, or a new one of its own
            3 => {
                if let Some(fresh) = self.fresh(self.place(who).0) {
                    self.assign(who, fresh);
                    self.server.replace(&self.slice);
                }
            }
            4 => self.moves(who),
            5 => {
                if let Some(address) = self.clients[&who].address {
                    self.say(who, MessageType::Release, |message| {
                        message.set_ciaddr(address);
                    });
                    *self.clients.get_mut(&who).unwrap() =
                        Client { wakes: self.now + 60, ..Client::default() };
                }
            }
            _ => {
                let own = self.clients[&who].address;
                if let Some(own) = own {
                    self.say(who, MessageType::Decline, |message| {
                        message.opts_mut().insert(DhcpOption::RequestedIpAddress(own));
                    });
                    *self.clients.get_mut(&who).unwrap() =
                        Client { wakes: self.now + 10, ..Client::default() };
                }
            }
        }
    }

    /// Whoever holds an address that is not its own had it confirmed before it lost it.
    fn check_holders(&self) {
        for (mac, client) in &self.clients {
            let Some(address) = client.address.filter(|_| self.now < client.acked + LEASE) else {
                continue;
            };
            let changed = self.changed.get(&address).copied().unwrap_or(0);
            let rightful = self.owner(address) == Some(*mac);
            assert!(rightful || client.acked <= changed, "{mac} has {address}");
        }
    }

    /// An address of a network that nobody had from the beginning, and nobody has.
    fn fresh(&mut self, network: usize) -> Option<Ipv4Addr> {
        let number = GUESTS + usize::try_from(self.random.below(1000)).unwrap();
        Some(address(network, number)).filter(|fresh| self.owner(*fresh).is_none())
    }

    /// A guest starts again, and remembers its address.
    fn reboots(&mut self, who: MacAddr) {
        let client = self.clients.get_mut(&who).unwrap();
        client.rebooted = client.address.is_some();
        client.wakes = self.now;
    }

    /// A guest is taken to the other network, and asks there for what it had.
    fn moves(&mut self, who: MacAddr) {
        let (from, at) = self.place(who);
        let to = (from + 1) % NETWORKS;
        let Some(fresh) = self.fresh(to) else { return };
        let mut guest = self.slice.networks[from].guests.remove(at);
        self.changed.extend([(guest.address, self.now), (fresh, self.now)]);
        guest.address = fresh;
        self.slice.networks[to].guests.push(guest);
        self.server.replace(&self.slice);
        self.moved += 1;
        self.reboots(who);
    }

    /// Gives a guest the address `to`.
    fn assign(&mut self, who: MacAddr, to: Ipv4Addr) {
        let (network, at) = self.place(who);
        let guest = &mut self.slice.networks[network].guests[at];
        for address in [guest.address, to] {
            self.changed.insert(address, self.now);
        }
        guest.address = to;
    }
}

fn address(network: usize, number: usize) -> Ipv4Addr {
    let (network, number) = (u32::try_from(network).unwrap(), u32::try_from(number).unwrap());
    Ipv4Addr::from(0x0a01_1000 + (network << 16) + number)
}

fn live(seed: u64) -> (u64, u64, u64) {
    let mut day = Day::new(seed);
    while day.now < DAY {
        day.now += 1;
        if day.random.one_in(60) {
            day.event();
        }
        let due: Vec<_> = {
            let due = day.clients.iter().filter(|(_, client)| client.wakes <= day.now);
            let mut due: Vec<_> = due.map(|(mac, _)| *mac).collect();
            due.sort_unstable();
            due
        };
        for who in due {
            day.wake(who);
        }
        if day.now.is_multiple_of(60) {
            day.check_holders();
        }
    }
    // every guest is served in the end
    let served = day.clients.iter().filter(|(mac, client)| {
        client.address.is_some_and(|address| day.owner(address) == Some(**mac))
    });
    assert!(served.count() >= GUESTS * 8 / 10);
    (day.acks, day.naks, day.moved)
}

#[test]
fn a_day_without_a_wrong_answer() {
    for seed in [1, 0x9e37_79b9_7f4a_7c15] {
        let (acks, naks, moved) = live(seed);
        assert!(acks > 5000 && naks > 50 && moved > 100, "{acks}, {naks} and {moved}");
    }
}
