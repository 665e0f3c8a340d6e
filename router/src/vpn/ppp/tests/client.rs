//! A client: as much of one as the server needs to be tried with.

use std::net::Ipv4Addr;
use std::time::Duration;

use md5::{Digest, Md5};

use super::super::automaton::{Automaton, Judgement, Protocol, Signal};
use super::super::mschap::{Exchange, without_domain};
use super::super::packet::{Choice, Packet, decode_frame, encode_frame, write_choices};
use super::super::protocol;

/// The client's LCP: takes what it is asked for, except methods that it cannot do.
#[derive(Debug)]
pub(super) struct ClientLcp {
    /// Values of the authentication option that it can do, the preferred one first.
    pub(super) can: Vec<Vec<u8>>,
    pub(super) asked: Option<Vec<u8>>,
}

impl Protocol for ClientLcp {
    const NUMBER: u16 = protocol::LCP;

    fn request(&self) -> Vec<u8> {
        write_choices([
            Choice { kind: 1, value: &1400_u16.to_be_bytes() },
            Choice { kind: 2, value: &[0; 4] },
            Choice { kind: 5, value: &[1, 2, 3, 4] },
            Choice { kind: 7, value: &[] },
            Choice { kind: 8, value: &[] },
        ])
    }

    fn judge(&mut self, asked: &[Choice<'_>]) -> Judgement {
        let method = asked.iter().find(|choice| choice.kind == 3).map(|choice| choice.value);
        if let (Some(method), Some(best)) = (method, self.can.first())
            && !self.can.iter().any(|can| can == method)
        {
            return Judgement::Nak(write_choices([Choice { kind: 3, value: best }]));
        }
        self.asked = method.map(<[u8]>::to_vec);
        Judgement::Ack
    }

    fn naked(&mut self, _: &[Choice<'_>]) -> bool {
        true
    }

    fn rejected(&mut self, _: &[Choice<'_>]) -> bool {
        true
    }
}

/// The client's IPCP: asks with zeros and takes what it is told.
#[derive(Debug)]
pub(super) struct ClientIpcp {
    pub(super) values: Vec<(u8, [u8; 4])>,
    pub(super) server: Option<Ipv4Addr>,
}

impl Default for ClientIpcp {
    fn default() -> Self {
        // address, name servers, and WINS servers as Windows asks
        let values = [3, 129, 130, 131, 132].map(|kind| (kind, [0; 4])).to_vec();
        Self { values, server: None }
    }
}

impl Protocol for ClientIpcp {
    const NUMBER: u16 = protocol::IPCP;

    fn request(&self) -> Vec<u8> {
        write_choices(self.values.iter().map(|(kind, value)| Choice { kind: *kind, value }))
    }

    fn judge(&mut self, asked: &[Choice<'_>]) -> Judgement {
        let address = asked.iter().find(|choice| choice.kind == 3);
        self.server = address.and_then(Choice::bytes4).map(Ipv4Addr::from);
        Judgement::Ack
    }

    fn naked(&mut self, wanted: &[Choice<'_>]) -> bool {
        for choice in wanted {
            let mine = self.values.iter_mut().find(|(kind, _)| *kind == choice.kind);
            if let (Some((_, value)), Some(better)) = (mine, choice.bytes4()) {
                *value = better;
            }
        }
        true
    }

    fn rejected(&mut self, unknown: &[Choice<'_>]) -> bool {
        self.values.retain(|(kind, _)| !unknown.iter().any(|choice| choice.kind == *kind));
        true
    }
}

/// A client's link.
#[derive(Debug)]
pub(in crate::vpn) struct Client {
    pub(super) lcp: Automaton<ClientLcp>,
    pub(super) ipcp: Automaton<ClientIpcp>,
    name: String,
    password: String,
    pap_at: Option<Duration>,
    /// What success or failure said.
    pub(in crate::vpn) verdict: Option<(bool, String)>,
    /// What it rejected or was rejected: protocol numbers.
    pub(in crate::vpn) rejected: Vec<u16>,
    out: Vec<Vec<u8>>,
    /// The answer to the last challenge of MS-CHAPv2, and the challenge.
    exchange: Option<([u8; 16], [u8; 24])>,
}

pub(in crate::vpn) const PAP: [u8; 2] = [0xc0, 0x23];
pub(in crate::vpn) const MD5: [u8; 3] = [0xc2, 0x23, 0x05];
pub(in crate::vpn) const MS: [u8; 3] = [0xc2, 0x23, 0x81];
const PEERS: [u8; 16] = *b"peer's challenge";

impl Client {
    pub(in crate::vpn) fn new(can: &[&[u8]], name: &str, password: &str) -> Self {
        let can = can.iter().map(|value| value.to_vec()).collect();
        let mut client = Self {
            lcp: Automaton::new(ClientLcp { can, asked: None }),
            ipcp: Automaton::new(ClientIpcp::default()),
            name: name.to_owned(),
            password: password.to_owned(),
            pap_at: None,
            verdict: None,
            rejected: Vec::new(),
            out: Vec::new(),
            exchange: None,
        };
        client.lcp.open(Duration::ZERO);
        client.lcp.up(Duration::ZERO);
        client.ipcp.open(Duration::ZERO);
        client.follow(Duration::ZERO);
        client
    }

    pub(in crate::vpn) fn frames(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.out)
    }

    pub(in crate::vpn) fn push(&mut self, frame: Vec<u8>) {
        self.out.push(frame);
    }

    /// True when it has an address and knows the server's.
    pub(in crate::vpn) fn is_up(&self) -> bool {
        self.ipcp.is_opened()
    }

    /// The server's end as the server named it.
    pub(in crate::vpn) fn server(&self) -> Option<Ipv4Addr> {
        self.ipcp.protocol.server
    }

    pub(in crate::vpn) fn address(&self) -> Option<Ipv4Addr> {
        let value = |(kind, value): &(u8, [u8; 4])| (*kind == 3).then(|| Ipv4Addr::from(*value));
        self.ipcp.protocol.values.iter().find_map(value)
    }

    pub(in crate::vpn) fn receive(&mut self, now: Duration, frame: &[u8]) {
        let Some((number, content)) = decode_frame(frame) else { return };
        let Some(packet) = Packet::decode(content) else { return };
        match number {
            protocol::LCP if packet.code == 8 => {
                let number = packet.data.first_chunk().map(|number| u16::from_be_bytes(*number));
                self.rejected.extend(number);
            }
            protocol::LCP if packet.code == 9 => {
                self.lcp.send(10, packet.id, &[&[1, 2, 3, 4], &packet.data[4..]].concat());
            }
            protocol::LCP => _ = self.lcp.receive(now, &packet),
            protocol::CHAP | protocol::PAP => self.proof(now, number, &packet),
            protocol::IPCP => _ = self.ipcp.receive(now, &packet),
            _ => (),
        }
        self.follow(now);
    }

    fn proof(&mut self, now: Duration, number: u16, packet: &Packet<'_>) {
        if number == protocol::CHAP && packet.code == 1 {
            return self.respond(packet);
        }
        let good = match number {
            protocol::CHAP => packet.code == 3,
            _ => packet.code == 2,
        };
        let text = String::from_utf8_lossy(packet.data).into_owned();
        self.pap_at = None;
        self.verdict = Some((good, text));
        if good {
            self.ipcp.up(now);
        }
    }

    fn respond(&mut self, packet: &Packet<'_>) {
        let challenge: [u8; 16] = packet.data[1..17].try_into().unwrap();
        let value = if self.lcp.protocol.asked.as_deref() == Some(&MS[..]) {
            let exchange = Exchange {
                ours: &challenge,
                peers: &PEERS,
                user: without_domain(&self.name),
                password: &self.password,
            };
            let response = exchange.response();
            self.exchange = Some((challenge, response));
            [&PEERS[..], &[0; 8], &response, &[0]].concat()
        } else {
            let md5 = Md5::new().chain_update([packet.id]).chain_update(&self.password);
            md5.chain_update(challenge).finalize().to_vec()
        };
        let mut data = vec![u8::try_from(value.len()).unwrap()];
        data.extend(value);
        data.extend(self.name.as_bytes());
        let packet = Packet { code: 2, id: packet.id, data: &data }.encode();
        self.out.push(encode_frame(protocol::CHAP, &packet));
    }

    /// True when the server has shown that it knows the password too.
    pub(in crate::vpn) fn server_is_proved(&self) -> bool {
        let (Some((challenge, response)), Some((true, said))) = (&self.exchange, &self.verdict)
        else {
            return false;
        };
        let (user, password) = (without_domain(&self.name), self.password.as_str());
        let proof = Exchange { ours: challenge, peers: &PEERS, user, password }.proof(response);
        let digits: String = proof.iter().map(|byte| format!("{byte:02X}")).collect();
        said.starts_with(&format!("S={digits}"))
    }

    fn follow(&mut self, now: Duration) {
        for signal in self.lcp.signals() {
            match signal {
                Signal::Frame(frame) => self.out.push(frame),
                Signal::Up => {
                    let pap = self.lcp.protocol.asked.as_deref() == Some(&PAP[..]);
                    self.pap_at = pap.then_some(now);
                    self.pap(now);
                }
                Signal::Down => self.ipcp.down(),
                Signal::Finished | Signal::Disagreed(_) => (),
            }
        }
        for signal in self.ipcp.signals() {
            if let Signal::Frame(frame) = signal {
                self.out.push(frame);
            }
        }
    }

    fn pap(&mut self, now: Duration) {
        if self.pap_at.is_none_or(|at| at > now) {
            return;
        }
        self.pap_at = Some(now + Duration::from_secs(3));
        let text = |text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            [&[length], text.as_bytes()].concat()
        };
        let data = [text(&self.name), text(&self.password)].concat();
        let packet = Packet { code: 1, id: 7, data: &data }.encode();
        self.out.push(encode_frame(protocol::PAP, &packet));
    }

    pub(in crate::vpn) fn tick(&mut self, now: Duration) {
        self.lcp.tick(now);
        self.ipcp.tick(now);
        self.pap(now);
        self.follow(now);
    }

    pub(in crate::vpn) fn close(&mut self, now: Duration) {
        self.lcp.close(now, "bye");
        self.follow(now);
    }
}
