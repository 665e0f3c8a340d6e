//! One link from its first frame to its end (RFC 1661 3).

use std::net::Ipv4Addr;
use std::time::Duration;

use super::authenticate::{Authenticator, NoAnswer, Outcome};
use super::automaton::{Automaton, REJECTED, Signal};
use super::ipcp::Ipcp;
use super::lcp::{Lcp, code};
use super::packet::{Packet, decode_frame};
use super::{Desk, Method, protocol};
use crate::vpn::Random;

/// How long a link may take to be up.
const SETUP: Duration = Duration::from_mins(1);
/// How often the peer is asked whether it is there, and how often in vain.
const ECHO_EVERY: Duration = Duration::from_secs(20);
const ECHOES: u8 = 4;

/// What all links of a server have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name in challenges.
    pub name: String,
    /// Our end's address.
    pub local: Ipv4Addr,
    /// Name servers for the peer; the first two are told.
    pub dns: Vec<Ipv4Addr>,
    /// Longest packet in either direction, in bytes.
    pub mtu: u16,
    /// Ways to prove who one is, the best first; at least one.
    pub methods: Vec<Method>,
}

/// A link that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Who it is.
    pub user: String,
    /// How that was proved.
    pub method: Method,
    /// Our end.
    pub local: Ipv4Addr,
    /// The peer's end.
    pub remote: Ipv4Addr,
    /// Longest packet for the peer, in bytes.
    pub mtu: u16,
}

/// What the caller is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a frame, without address and control fields.
    Frame(Vec<u8>),
    /// IP packets pass from now on.
    Up(Opened),
    /// They no longer do.
    Down,
    /// The link is over, for this reason; nothing comes of it any more.
    Finished(String),
}

#[derive(Debug)]
enum Phase {
    /// LCP is not up.
    Establish,
    Authenticate(Authenticator),
    /// Proved; proofs that are repeated get their reply again.
    Network {
        user: String,
        method: Method,
        authenticator: Authenticator,
    },
    Over,
}

impl Phase {
    fn authenticator(&mut self) -> Option<&mut Authenticator> {
        match self {
            Self::Authenticate(authenticator) | Self::Network { authenticator, .. } => {
                Some(authenticator)
            }
            Self::Establish | Self::Over => None,
        }
    }
}

/// One link.
#[derive(Debug)]
pub struct Link {
    settings: Settings,
    random: Random,
    lcp: Automaton<Lcp>,
    ipcp: Option<Automaton<Ipcp>>,
    phase: Phase,
    /// When it has to be up; `None` once it is.
    until: Option<Duration>,
    lease: Option<Ipv4Addr>,
    echo_at: Duration,
    echo_id: u8,
    unanswered: u8,
    rejects: u8,
    /// Why it was closed.
    reason: Option<String>,
    out: Vec<Output>,
}

impl Link {
    /// A link whose lower layer is there; its first frame is in line.
    pub fn new(settings: Settings, now: Duration, mut random: Random) -> Self {
        let lcp = Lcp::new(settings.mtu, random.bytes(), settings.methods.clone());
        let mut link = Self {
            settings,
            random,
            lcp: Automaton::new(lcp),
            ipcp: None,
            phase: Phase::Establish,
            until: Some(now + SETUP),
            lease: None,
            echo_at: now + ECHO_EVERY,
            echo_id: 0,
            unanswered: 0,
            rejects: 0,
            reason: None,
            out: Vec::new(),
        };
        link.lcp.open(now);
        link.lcp.up(now);
        link.follow_lcp(now);
        link
    }

    /// What is to be done, taken out.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// Who it is, once that is proved.
    pub fn user(&self) -> Option<&str> {
        match &self.phase {
            Phase::Network { user, .. } => Some(user),
            _ => None,
        }
    }

    /// Takes a frame.
    pub fn receive(&mut self, now: Duration, frame: &[u8], desk: &mut dyn Desk) {
        let Some((number, content)) = decode_frame(frame) else { return };
        // nothing but LCP before LCP is up (RFC 1661 3.4)
        if number != protocol::LCP && !self.lcp.is_opened() {
            return;
        }
        match number {
            protocol::LCP => self.lcp_packet(now, content),
            protocol::PAP | protocol::CHAP => self.proof(now, number, content, desk),
            protocol::IPCP => self.ipcp_packet(now, content),
            // for the data path, which may be behind; not ours
            protocol::IPV4 => (),
            _ => self.reject_protocol(number, content),
        }
    }

    fn lcp_packet(&mut self, now: Duration, content: &[u8]) {
        let Some(packet) = Packet::decode(content) else { return };
        if !self.lcp.receive(now, &packet) {
            self.lcp_extra(now, &packet);
        }
        self.follow_lcp(now);
    }

    /// Codes that only LCP has.
    fn lcp_extra(&mut self, now: Duration, packet: &Packet<'_>) {
        match packet.code {
            code::ECHO_REQUEST if self.lcp.is_opened() => {
                let said = packet.data.get(4..).unwrap_or_default();
                let data = [self.lcp.protocol.magic().as_slice(), said].concat();
                self.lcp.send(code::ECHO_REPLY, packet.id, &data);
            }
            code::ECHO_REPLY if packet.id == self.echo_id => self.unanswered = 0,
            code::PROTOCOL_REJECT => self.protocol_rejected(now, packet),
            code::ECHO_REQUEST
            | code::ECHO_REPLY
            | code::DISCARD
            | code::IDENTIFICATION
            | code::TIME_REMAINING => (),
            _ => self.lcp.reject_code(packet),
        }
    }

    fn protocol_rejected(&mut self, now: Duration, packet: &Packet<'_>) {
        match packet.data.first_chunk().map(|number| u16::from_be_bytes(*number)) {
            Some(protocol::IPCP) => self.close(now, "the client does not speak IPv4"),
            Some(protocol::LCP) => self.lcp.impossible(now),
            Some(protocol::PAP | protocol::CHAP) => {
                self.close(now, "the client does not prove who it is");
            }
            _ => (),
        }
    }

    fn reject_protocol(&mut self, number: u16, content: &[u8]) {
        self.rejects = self.rejects.wrapping_add(1);
        let mut data = number.to_be_bytes().to_vec();
        data.extend(content.iter().take(REJECTED));
        self.lcp.send(code::PROTOCOL_REJECT, self.rejects, &data);
        self.out.extend(frames(&mut self.lcp.signals()));
    }

    fn follow_lcp(&mut self, now: Duration) {
        for signal in self.lcp.signals() {
            match signal {
                Signal::Frame(frame) => self.out.push(Output::Frame(frame)),
                Signal::Up => self.authenticate(now),
                Signal::Down => self.lower_down(),
                Signal::Finished => self.finish(now),
                Signal::Disagreed(why) => self.close(now, why),
            }
        }
    }

    fn authenticate(&mut self, now: Duration) {
        let Some(method) = self.lcp.protocol.method() else {
            return self.close(now, "no way to prove who one is");
        };
        let name = &self.settings.name;
        self.echo_at = now + ECHO_EVERY;
        self.unanswered = 0;
        let authenticator = Authenticator::new(method, name, now, &mut self.random);
        self.phase = Phase::Authenticate(authenticator);
        self.challenge(now);
    }

    fn challenge(&mut self, now: Duration) {
        let Some(authenticator) = self.phase.authenticator() else { return };
        match authenticator.tick(now) {
            Ok(frame) => self.out.extend(frame.map(Output::Frame)),
            Err(NoAnswer) => self.close(now, "the client does not prove who it is"),
        }
    }

    fn proof(&mut self, now: Duration, number: u16, content: &[u8], desk: &mut dyn Desk) {
        let Some(packet) = Packet::decode(content) else { return };
        let mut replies = Vec::new();
        let outcome = match self.phase.authenticator() {
            Some(one) => one.receive(now, number, &packet, desk, &mut replies),
            None => Outcome::Nothing,
        };
        self.out.extend(replies.into_iter().map(Output::Frame));
        match outcome {
            Outcome::Nothing => (),
            Outcome::Refused(name) => {
                let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                self.close(now, &format!("wrong name or password for {name:?}"));
            }
            Outcome::Proved(user) => self.network(now, user, desk),
        }
    }

    fn network(&mut self, now: Duration, user: String, desk: &mut dyn Desk) {
        let lease = self.lease.or_else(|| desk.lease(&user));
        let Some(remote) = lease else {
            return self.close(now, "no address is free");
        };
        self.lease = lease;
        let method = self.lcp.protocol.method().unwrap_or(Method::Pap);
        let Phase::Authenticate(authenticator) = std::mem::replace(&mut self.phase, Phase::Over)
        else {
            return;
        };
        self.phase = Phase::Network { user, method, authenticator };
        let ipcp = Ipcp::new(self.settings.local, remote, &self.settings.dns);
        let mut ipcp = Automaton::new(ipcp);
        ipcp.open(now);
        ipcp.up(now);
        self.ipcp = Some(ipcp);
        self.follow_ipcp(now);
    }

    fn ipcp_packet(&mut self, now: Duration, content: &[u8]) {
        // before that it is not for us to answer (RFC 1661 3.5); the peer asks again
        let Some(ipcp) = &mut self.ipcp else { return };
        let Some(packet) = Packet::decode(content) else { return };
        if let Phase::Network { authenticator, .. } = &mut self.phase {
            authenticator.heard();
        }
        if !ipcp.receive(now, &packet) {
            ipcp.reject_code(&packet);
        }
        self.follow_ipcp(now);
    }

    fn follow_ipcp(&mut self, now: Duration) {
        let Some(ipcp) = &mut self.ipcp else { return };
        for signal in ipcp.signals() {
            match signal {
                Signal::Frame(frame) => self.out.push(Output::Frame(frame)),
                Signal::Up => self.opened(),
                Signal::Down => self.out.push(Output::Down),
                Signal::Finished => self.close(now, "the client ended IPv4"),
                Signal::Disagreed(why) => self.close(now, why),
            }
        }
    }

    fn opened(&mut self) {
        let (Phase::Network { user, method, .. }, Some(ipcp)) = (&self.phase, &self.ipcp) else {
            return;
        };
        self.until = None;
        self.out.push(Output::Up(Opened {
            user: user.clone(),
            method: *method,
            local: ipcp.protocol.local,
            remote: ipcp.protocol.remote,
            mtu: self.settings.mtu.min(self.lcp.protocol.peer_mru),
        }));
    }

    /// LCP went down; everything above goes with it.
    fn lower_down(&mut self) {
        if self.ipcp.take().is_some_and(|ipcp| ipcp.is_opened()) {
            self.out.push(Output::Down);
        }
        if !matches!(self.phase, Phase::Over) {
            self.phase = Phase::Establish;
        }
    }

    /// Ends the link; the peer is told. Nothing happens when it is over.
    pub fn close(&mut self, now: Duration, reason: &str) {
        if matches!(self.phase, Phase::Over) || self.reason.is_some() {
            return;
        }
        self.reason = Some(reason.to_owned());
        self.lcp.close(now, reason);
        self.follow_lcp(now);
        // however it goes on, it does not go on for long
        self.until = Some(now + SETUP / 6);
    }

    fn finish(&mut self, now: Duration) {
        self.lower_down();
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.phase = Phase::Over;
        let late = self.until.is_some_and(|until| until <= now);
        let why = if late { "the link was not up in time" } else { "ended by the client" };
        self.out.push(Output::Finished(self.reason.take().unwrap_or_else(|| why.to_owned())));
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.lcp.tick(now);
        self.follow_lcp(now);
        if let Some(ipcp) = &mut self.ipcp {
            ipcp.tick(now);
            self.follow_ipcp(now);
        }
        self.challenge(now);
        self.echo(now);
        if self.until.is_some_and(|until| until <= now) {
            self.finish(now);
        }
    }

    fn echo(&mut self, now: Duration) {
        if self.echo_at > now || !self.lcp.is_opened() {
            return;
        }
        self.echo_at = now + ECHO_EVERY;
        if self.unanswered == ECHOES {
            return self.close(now, "the client no longer answers");
        }
        self.unanswered += 1;
        self.echo_id = self.echo_id.wrapping_add(1);
        let magic = self.lcp.protocol.magic();
        self.lcp.send(code::ECHO_REQUEST, self.echo_id, &magic);
        self.follow_lcp(now);
    }

    /// When to call [`Link::tick`]; `None` when it is over.
    pub fn deadline(&self) -> Option<Duration> {
        let authenticator = match &self.phase {
            Phase::Over => return None,
            Phase::Authenticate(authenticator) | Phase::Network { authenticator, .. } => {
                authenticator.deadline()
            }
            Phase::Establish => None,
        };
        let ipcp = self.ipcp.as_ref().and_then(Automaton::deadline);
        let echo = self.lcp.is_opened().then_some(self.echo_at);
        [self.lcp.deadline(), ipcp, authenticator, echo, self.until].into_iter().flatten().min()
    }
}

fn frames(signals: &mut Vec<Signal>) -> impl Iterator<Item = Output> + '_ {
    signals.drain(..).filter_map(|signal| match signal {
        Signal::Frame(frame) => Some(Output::Frame(frame)),
        _ => None,
    })
}
