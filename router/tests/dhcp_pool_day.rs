//! A day of virtual time on a network that lends: machines that come, renew, reboot, go and come again, messages that get
//! lost, a server that is killed and reads its journal, a router that is rebuilt and knows nothing, a configuration that
//! takes an address for a guest.
//!
//! What must hold at every moment: no two machines have one address, and who has an address is not refused it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that cannot be set up fails

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{self, DhcpOption, MessageType, OptionCode};
use dhcproto::{Decodable, Encodable};
use sluice_api::types::{LinkName, MacAddr};
use sluice_router::dhcp::{Arrival, Change, DhcpSlice, Outcome, Server, slice};

const MACHINES: usize = 150;
/// Fewer than machines: some have to do without, and addresses go from one to another.
const POOL: [&str; 2] = ["10.1.20.1-10.1.20.60", "10.1.30.1-10.1.30.60"];
const DAY: u64 = 24 * 3600;
const LEASE: u64 = 1800;

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

#[derive(Clone, Default)]
struct Machine {
    /// Its address, and when it has to stop using it.
    holds: Option<(Ipv4Addr, u64)>,
    /// What it remembers over a reboot or a time away.
    remembers: Option<Ipv4Addr>,
    wakes: u64,
}

struct Day {
    random: Random,
    link: LinkName,
    slice: DhcpSlice,
    server: Server,
    journal: Vec<Change>,
    machines: HashMap<MacAddr, Machine>,
    now: u64,
    xid: u32,
    acks: u64,
    naks: u64,
    conflicts: u64,
}

fn mac(number: usize) -> MacAddr {
    let [.., high, low] = number.to_be_bytes();
    MacAddr::from_bytes([2, 0, 0, 8, high, low]).unwrap()
}

impl Day {
    fn new(seed: u64) -> Self {
        let text = include_str!("../../examples/router.json");
        let mut slice = slice(&serde_json::from_str(text).unwrap());
        slice.networks.truncate(1);
        let network = &mut slice.networks[0];
        network.cidr = "10.1.0.0/16".parse().unwrap();
        network.lease_seconds = LEASE.try_into().unwrap();
        network.pools = POOL.iter().map(|range| range.parse().unwrap()).collect();
        let (link, server) = (network.link.clone(), Server::new(&slice));
        let machines = (0..MACHINES).map(|number| (mac(number), Machine::default())).collect();
        Self {
            random: Random(seed),
            link,
            slice,
            server,
            journal: Vec::new(),
            machines,
            now: 0,
            xid: 0,
            acks: 0,
            naks: 0,
            conflicts: 0,
        }
    }

    fn clock(&self) -> Duration {
        Duration::from_secs(self.now)
    }

    /// Who uses `address` now and would answer for it.
    fn user(&self, address: Ipv4Addr) -> Option<MacAddr> {
        let uses = |machine: &Machine| {
            machine.holds.is_some_and(|(held, until)| held == address && self.now < until)
        };
        self.machines.iter().find(|(_, machine)| uses(machine)).map(|(mac, _)| *mac)
    }

    /// What the service does with a message: asks the segment before it gives an address that nobody is known to have.
    fn serve(&mut self, from: MacAddr, source: Ipv4Addr, bytes: &[u8]) -> Option<Vec<u8>> {
        for _ in 0..3 {
            let arrival = Arrival { link: &self.link, source, bytes };
            let Outcome { reply, probe, .. } = self.server.handle(self.clock(), arrival);
            self.journal.extend(self.server.changes());
            let occupied = probe.and_then(|address| Some((address, self.user(address)?)));
            match occupied.filter(|(_, user)| *user != from) {
                Some((address, user)) => {
                    self.conflicts += 1;
                    self.server.occupied(self.clock(), &self.link, address, user);
                    self.journal.extend(self.server.changes());
                }
                None => return Some(reply?.bytes),
            }
        }
        None
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
        if self.random.one_in(20) {
            return None;
        }
        let reply = self.serve(from, message.ciaddr(), &message.to_vec().unwrap())?;
        let answer = v4::Message::from_bytes(&reply).unwrap();
        self.judge(from, &message, &answer);
        (!self.random.one_in(20)).then_some(answer)
    }

    fn judge(&mut self, to: MacAddr, asked: &v4::Message, answer: &v4::Message) {
        match answer.opts().msg_type() {
            Some(MessageType::Offer) => {}
            Some(MessageType::Ack) => {
                let user = self.user(answer.yiaddr()).filter(|user| *user != to);
                assert_eq!(user, None, "{} has {} already", user.unwrap_or(to), answer.yiaddr());
                assert!(!self.is_reserved(answer.yiaddr()), "a guest's own");
                self.acks += 1;
            }
            Some(MessageType::Nak) => {
                let held = self.machines[&to].holds.filter(|(_, until)| self.now < *until);
                let wanted = match asked.opts().get(OptionCode::RequestedIpAddress) {
                    Some(DhcpOption::RequestedIpAddress(address)) => *address,
                    _ => asked.ciaddr(),
                };
                let rightful = held.is_some_and(|(address, _)| address == wanted);
                assert!(!rightful || self.is_reserved(wanted), "{to} was refused its {wanted}");
                self.naks += 1;
            }
            other => panic!("the server said {other:?}"),
        }
    }

    fn is_reserved(&self, address: Ipv4Addr) -> bool {
        self.slice.networks[0].guests.iter().any(|guest| guest.address == address)
    }

    /// One machine does what is due.
    fn wake(&mut self, who: MacAddr) {
        let machine = self.machines[&who].clone();
        let held = machine.holds.filter(|(_, until)| self.now < *until);
        let answer = match (held, machine.remembers) {
            (Some((address, _)), _) => self.say(who, MessageType::Request, |message| {
                message.set_ciaddr(address);
            }),
            (None, Some(address)) => self.say(who, MessageType::Request, |message| {
                message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
            }),
            (None, None) => self.say(who, MessageType::Discover, |_| {}).and_then(|offer| {
                let server = offer.opts().get(OptionCode::ServerIdentifier).cloned().unwrap();
                self.say(who, MessageType::Request, |message| {
                    message.opts_mut().insert(DhcpOption::RequestedIpAddress(offer.yiaddr()));
                    message.opts_mut().insert(server.clone());
                })
            }),
        };
        let now = self.now;
        let kind = answer.as_ref().and_then(|answer| answer.opts().msg_type());
        let machine = self.machines.get_mut(&who).unwrap();
        match (kind, answer) {
            (Some(MessageType::Ack), Some(answer)) => {
                machine.holds = Some((answer.yiaddr(), now + LEASE));
                machine.remembers = Some(answer.yiaddr());
                machine.wakes = now + LEASE / 2;
            }
            (Some(MessageType::Nak), _) => {
                (machine.holds, machine.remembers) = (None, None);
                machine.wakes = now + 1;
            }
            // silence: try again; who remembers an address in vain looks for another
            _ => {
                machine.wakes = now + 20;
                if held.is_none() {
                    machine.remembers = None;
                }
            }
        }
    }

    /// Something happens.
    fn event(&mut self) {
        let who = mac(usize::try_from(self.random.below(MACHINES as u64)).unwrap());
        match self.random.below(8) {
            // killed: the next one reads what was written down
            0 => {
                self.server = Server::new(&self.slice);
                self.server.restore(std::mem::take(&mut self.journal));
                self.journal = self.server.loans(Duration::ZERO).collect();
            }
            // rebuilt: nothing is left
            1 if self.random.one_in(6) => {
                self.server = Server::new(&self.slice);
                self.journal.clear();
            }
            2 => {
                // a guest is made with an address that may be lent
                let address =
                    Ipv4Addr::from(0x0a01_1401 + u32::try_from(self.random.below(60)).unwrap());
                let guest = serde_json::json!({
                    "mac": "02:00:00:09:00:01", "address": address, "hostname": "own",
                });
                self.slice.networks[0].guests = vec![serde_json::from_value(guest).unwrap()];
                self.server.replace(&self.slice);
            }
            3 => {
                let machine = self.machines.get_mut(&who).unwrap();
                if let Some((address, _)) = machine.holds.take() {
                    machine.remembers = None;
                    machine.wakes = self.now + 600;
                    self.say(who, MessageType::Release, |message| {
                        message.set_ciaddr(address);
                    });
                }
            }
            4 => {
                // it goes without a word, and comes back later with what it remembers
                let until = self.now + self.random.below(2 * LEASE);
                let machine = self.machines.get_mut(&who).unwrap();
                (machine.holds, machine.wakes) = (None, until);
            }
            _ => {
                let machine = self.machines.get_mut(&who).unwrap();
                machine.wakes = self.now;
            }
        }
    }

    /// No two machines have one address.
    fn check_holders(&self) {
        let mut seen = HashMap::new();
        for (mac, machine) in &self.machines {
            let Some((address, until)) = machine.holds else { continue };
            if self.now < until && !self.is_reserved(address) {
                assert_eq!(seen.insert(address, mac), None, "{address} twice");
            }
        }
    }
}

fn live(seed: u64) -> (u64, u64, u64) {
    let mut day = Day::new(seed);
    while day.now < DAY {
        day.now += 1;
        if day.random.one_in(30) {
            day.event();
        }
        let mut due: Vec<_> = day
            .machines
            .iter()
            .filter(|(_, machine)| machine.wakes <= day.now)
            .map(|(mac, _)| *mac)
            .collect();
        due.sort_unstable();
        for who in due {
            day.wake(who);
        }
        if day.now.is_multiple_of(30) {
            day.check_holders();
        }
    }
    let served = day.machines.values().filter(|machine| machine.holds.is_some()).count();
    assert!(served >= 80, "{served} have an address");
    (day.acks, day.naks, day.conflicts)
}

#[test]
fn a_day_of_lending_without_a_wrong_answer() {
    for seed in [1, 0x9e37_79b9_7f4a_7c15] {
        let (acks, naks, conflicts) = live(seed);
        assert!(acks > 5000 && naks > 20 && conflicts > 20, "{acks}, {naks} and {conflicts}");
    }
}
