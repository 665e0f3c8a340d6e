//! A day of virtual time on a network that lends: machines that come, renew, reboot, go and come again, messages that get
//! lost, questions to the segment that take their time or are never asked, declines that somebody forges, a server that is
//! killed and reads its journal, a router that is rebuilt and knows nothing, a configuration that takes an address for a guest.
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
    /// The number of the message that it waits for an answer to, and when it was sent.
    asked: (u32, u64),
}

/// A message whose answer waits until the segment was asked about an address.
struct Asked {
    due: u64,
    from: MacAddr,
    message: v4::Message,
    address: Ipv4Addr,
    reply: Vec<u8>,
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
    questions: Vec<Asked>,
    counts: Counts,
}

/// What came about.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    acks: u64,
    naks: u64,
    conflicts: u64,
    /// Questions to the segment that found no socket.
    unasked: u64,
    /// Answers that came after a question took its time.
    late: u64,
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
            questions: Vec::new(),
            counts: Counts::default(),
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

    /// What the service does with a message: an answer that gives an address which somebody might use waits until the segment
    /// was asked, and there is none when it cannot be.
    fn serve(&mut self, from: MacAddr, message: &v4::Message) -> Option<v4::Message> {
        let bytes = message.to_vec().unwrap();
        let arrival = Arrival { link: &self.link, source: message.ciaddr(), bytes: &bytes };
        let Outcome { reply, probe, .. } = self.server.handle(self.clock(), arrival);
        self.journal.extend(self.server.changes());
        let reply = reply?.bytes;
        let Some(address) = probe else { return Some(v4::Message::from_bytes(&reply).unwrap()) };
        if self.random.one_in(4) {
            self.counts.unasked += 1;
            return None;
        }
        let due = self.now + self.random.below(4);
        let asked = Asked { due, from, message: message.clone(), address, reply };
        if due > self.now {
            self.questions.push(asked);
            return None;
        }
        self.settle(asked)
    }

    /// The segment was asked: the answer that goes out.
    fn settle(&mut self, asked: Asked) -> Option<v4::Message> {
        let Asked { from, message, address, reply, .. } = asked;
        match self.user(address).filter(|user| *user != from) {
            Some(user) => {
                self.counts.conflicts += 1;
                self.server.occupied(self.clock(), &self.link, address, user);
                self.serve(from, &message)
            }
            None => {
                let proved = self.server.prove(&self.link, from, address);
                self.journal.extend(self.server.changes());
                proved.then(|| v4::Message::from_bytes(&reply).unwrap())
            }
        }
    }

    /// The questions whose time is over, and what comes of them; a machine that has asked anew does not want the old answer.
    fn settle_due(&mut self) {
        let due: Vec<_> = self.questions.extract_if(.., |asked| asked.due <= self.now).collect();
        for asked in due {
            let (from, message) = (asked.from, asked.message.clone());
            let Some(answer) = self.settle(asked) else { continue };
            self.judge(from, &message, &answer);
            if self.machines[&from].asked.0 == answer.xid() && !self.random.one_in(20) {
                self.counts.late += 1;
                self.hear(from, &answer);
            }
        }
    }

    /// Sends a message and gives the answer, unless either is lost on the way or it comes later.
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
        self.machines.get_mut(&from).unwrap().asked = (self.xid, self.now);
        if self.random.one_in(20) {
            return None;
        }
        let answer = self.serve(from, &message)?;
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
                self.counts.acks += 1;
            }
            Some(MessageType::Nak) => {
                let held = self.machines[&to].holds.filter(|(_, until)| self.now < *until);
                let wanted = match asked.opts().get(OptionCode::RequestedIpAddress) {
                    Some(DhcpOption::RequestedIpAddress(address)) => *address,
                    _ => asked.ciaddr(),
                };
                let rightful = held.is_some_and(|(address, _)| address == wanted);
                assert!(!rightful || self.is_reserved(wanted), "{to} was refused its {wanted}");
                self.counts.naks += 1;
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
            (None, None) => self.say(who, MessageType::Discover, |_| {}),
        };
        // silence: try again, while the question may still be out; who remembers an address in vain looks for another
        let gives_up = held.is_none() && self.random.one_in(3);
        let wakes = self.now + 2 + self.random.below(20);
        let machine = self.machines.get_mut(&who).unwrap();
        machine.wakes = wakes;
        match answer {
            Some(answer) => self.hear(who, &answer),
            None if gives_up => machine.remembers = None,
            None => {}
        }
    }

    /// A machine is answered.
    fn hear(&mut self, who: MacAddr, answer: &v4::Message) {
        let now = self.now;
        let machine = self.machines.get_mut(&who).unwrap();
        match answer.opts().msg_type() {
            Some(MessageType::Offer) => {
                let server = answer.opts().get(OptionCode::ServerIdentifier).cloned().unwrap();
                let chosen = self.say(who, MessageType::Request, |message| {
                    message.opts_mut().insert(DhcpOption::RequestedIpAddress(answer.yiaddr()));
                    message.opts_mut().insert(server.clone());
                });
                if let Some(chosen) = chosen {
                    self.hear(who, &chosen);
                }
            }
            Some(MessageType::Ack) => {
                // its time counts from when it asked (RFC 2131 4.4.1)
                machine.holds = Some((answer.yiaddr(), machine.asked.1 + LEASE));
                machine.remembers = Some(answer.yiaddr());
                machine.wakes = now + LEASE / 2;
            }
            _ => {
                (machine.holds, machine.remembers) = (None, None);
                machine.wakes = now + 1;
            }
        }
    }

    /// Something happens.
    fn event(&mut self) {
        let who = mac(usize::try_from(self.random.below(MACHINES as u64)).unwrap());
        match self.random.below(9) {
            // killed: the next one reads what was written down, and the questions that were out are forgotten
            0 => {
                self.questions.clear();
                self.server = Server::new(&self.slice);
                self.server.restore(std::mem::take(&mut self.journal));
                self.journal = self.server.loans(Duration::ZERO).collect();
            }
            // rebuilt: nothing is left
            1 if self.random.one_in(6) => {
                self.server = Server::new(&self.slice);
                self.questions.clear();
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
                    machine.asked.0 = 0;
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
                machine.asked.0 = 0;
            }
            // a neighbour declines the machine's address in its name
            5 => {
                if let Some((address, _)) = self.machines[&who].holds {
                    let asked = self.machines[&who].asked;
                    self.say(who, MessageType::Decline, |message| {
                        message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
                    });
                    self.machines.get_mut(&who).unwrap().asked = asked;
                }
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

fn live(seed: u64) -> Counts {
    let mut day = Day::new(seed);
    while day.now < DAY {
        day.now += 1;
        day.settle_due();
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
    day.counts
}

#[test]
fn a_day_of_lending_without_a_wrong_answer() {
    for seed in [1, 0x9e37_79b9_7f4a_7c15] {
        let counts = live(seed);
        let Counts { acks, naks, conflicts, unasked, late } = counts;
        assert!(acks > 5000 && naks > 20 && conflicts > 20, "{counts:?}");
        assert!(unasked > 200 && late > 200, "{counts:?}");
    }
}
