//! What LCP negotiates (RFC 1661 6): packet sizes, authentication, a number that shows loops.

use super::automaton::{Judgement, Protocol};
use super::packet::{Choice, write_choices};
use super::{Method, protocol};

/// Options of RFC 1661 6 and RFC 1662 7.1.
mod option {
    pub(super) const MRU: u8 = 1;
    pub(super) const CHARACTER_MAP: u8 = 2;
    pub(super) const AUTHENTICATION: u8 = 3;
    pub(super) const MAGIC: u8 = 5;
    pub(super) const SHORT_PROTOCOL: u8 = 7;
    pub(super) const SHORT_ADDRESS: u8 = 8;
}

/// Codes beyond those of the automaton (RFC 1661 5, RFC 1570 2).
pub(super) mod code {
    pub(crate) const PROTOCOL_REJECT: u8 = 8;
    pub(crate) const ECHO_REQUEST: u8 = 9;
    pub(crate) const ECHO_REPLY: u8 = 10;
    pub(crate) const DISCARD: u8 = 11;
    pub(crate) const IDENTIFICATION: u8 = 12;
    pub(crate) const TIME_REMAINING: u8 = 13;
}

/// What a peer takes that does not say (RFC 1661 6.1).
const DEFAULT_MRU: u16 = 1500;
/// Below this IPv4 does not work (RFC 791 3.2).
const LEAST_MRU: u16 = 68;
/// CHAP's algorithms (RFC 1994 3, RFC 2759 4).
const MD5: u8 = 0x05;
const MS_V2: u8 = 0x81;

/// Both ends' options.
#[derive(Debug)]
pub(super) struct Lcp {
    mru: Option<u16>,
    magic: Option<[u8; 4]>,
    /// What we would have the peer prove itself by, the best first; the first is asked for.
    methods: Vec<Method>,
    /// Longest packet that the peer takes.
    pub(super) peer_mru: u16,
}

impl Lcp {
    pub(super) fn new(mru: u16, magic: [u8; 4], methods: Vec<Method>) -> Self {
        Self { mru: Some(mru), magic: Some(magic), methods, peer_mru: DEFAULT_MRU }
    }

    /// How the peer has to prove itself.
    pub(super) fn method(&self) -> Option<Method> {
        self.methods.first().copied()
    }

    /// Our number, as echoes carry it (RFC 1661 5.8).
    pub(super) fn magic(&self) -> [u8; 4] {
        self.magic.unwrap_or_default()
    }

    fn is_known(&self, choice: &Choice<'_>) -> bool {
        match choice.kind {
            option::MRU => choice.value.len() == 2,
            option::CHARACTER_MAP | option::MAGIC => choice.value.len() == 4,
            option::SHORT_PROTOCOL | option::SHORT_ADDRESS => choice.value.is_empty(),
            // we prove ourselves in MS-CHAPv2, or by the pre-shared key; authentication of us is not offered
            _ => false,
        }
    }

    /// Values that cannot be: too small a packet; our own number, which says that we hear ourselves.
    fn is_wrong(&self, choice: &Choice<'_>) -> bool {
        let small = || choice.number16().is_some_and(|mru| mru < LEAST_MRU);
        match choice.kind {
            option::MRU => small(),
            option::MAGIC => self.magic.is_some() && choice.bytes4() == self.magic,
            _ => false,
        }
    }
}

fn method_value(method: Method) -> Vec<u8> {
    let (number, algorithm) = match method {
        Method::MsChapV2 => (protocol::CHAP, Some(MS_V2)),
        Method::ChapMd5 => (protocol::CHAP, Some(MD5)),
        Method::Pap => (protocol::PAP, None),
    };
    let mut value = number.to_be_bytes().to_vec();
    value.extend(algorithm);
    value
}

impl Protocol for Lcp {
    const NUMBER: u16 = protocol::LCP;

    fn request(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut add = |kind, value: &[u8]| Choice { kind, value }.write(&mut all);
        if let Some(mru) = self.mru {
            add(option::MRU, &mru.to_be_bytes());
        }
        if let Some(method) = self.method() {
            add(option::AUTHENTICATION, &method_value(method));
        }
        if let Some(magic) = self.magic {
            add(option::MAGIC, &magic);
        }
        all
    }

    fn judge(&mut self, asked: &[Choice<'_>]) -> Judgement {
        let unknown = write_choices(asked.iter().filter(|choice| !self.is_known(choice)).copied());
        if !unknown.is_empty() {
            return Judgement::Reject(unknown);
        }
        let wrong: Vec<_> = asked.iter().filter(|choice| self.is_wrong(choice)).collect();
        if !wrong.is_empty() {
            let better = |kind| match kind {
                option::MRU => DEFAULT_MRU.to_be_bytes().to_vec(),
                // any other number will do
                _ => self.magic().map(|byte| !byte).to_vec(),
            };
            let values: Vec<_> =
                wrong.iter().map(|choice| (choice.kind, better(choice.kind))).collect();
            let values = values.iter().map(|(kind, value)| Choice { kind: *kind, value });
            return Judgement::Nak(write_choices(values));
        }
        let mru = asked.iter().find(|choice| choice.kind == option::MRU);
        self.peer_mru = mru.and_then(Choice::number16).unwrap_or(DEFAULT_MRU);
        Judgement::Ack
    }

    fn naked(&mut self, wanted: &[Choice<'_>]) -> bool {
        for choice in wanted {
            match choice.kind {
                // what we take is ours to say: a smaller number is granted, a greater one not asked for
                option::MRU => {
                    self.mru = self
                        .mru
                        .filter(|mru| choice.number16() < Some(*mru))
                        .and(choice.number16());
                }
                option::AUTHENTICATION => return self.other_method(choice.value),
                // it hears our number: chance, or a loop, which ends by itself
                option::MAGIC => {
                    self.magic = self.magic.map(|magic| magic.map(|b| b.rotate_left(3) ^ 0x55));
                }
                _ => (),
            }
        }
        true
    }

    fn rejected(&mut self, unknown: &[Choice<'_>]) -> bool {
        for choice in unknown {
            match choice.kind {
                option::MRU => self.mru = None,
                option::MAGIC => self.magic = None,
                // nobody comes in unproved
                option::AUTHENTICATION => return false,
                _ => (),
            }
        }
        true
    }
}

impl Lcp {
    /// The peer refuses the first method and would rather have `value`; whatever is left of ours will do.
    fn other_method(&mut self, value: &[u8]) -> bool {
        self.methods = self.methods.iter().skip(1).copied().collect();
        if let Some(place) = self.methods.iter().position(|one| method_value(*one) == value) {
            self.methods.swap(0, place);
        }
        !self.methods.is_empty()
    }
}
