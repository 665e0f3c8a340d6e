//! The phase between LCP and IPCP: the peer proves who it is (RFC 1661 3.5).
//!
//! Guarantees: nothing but a right password ends it well; an unknown name takes the same steps as a wrong password; an
//! answer that is repeated gets the same reply again and changes nothing.

use std::time::Duration;

use super::mschap::{CHALLENGE, without_domain};
use super::packet::{Packet, encode_frame};
use super::{Desk, Method, RESTART, chap, protocol};
use crate::vpn::Random;
use crate::vpn::same_bytes;
use crate::vpn::wire::Reader;

/// Challenges without a response.
const MAX_CHALLENGES: u8 = 10;
/// Times that a success is said without a sign that it was heard.
const MAX_SUCCESSES: u8 = 5;
/// Codes of PAP (RFC 1334 2.2).
mod pap {
    pub(super) const REQUEST: u8 = 1;
    pub(super) const ACK: u8 = 2;
    pub(super) const NAK: u8 = 3;
}

/// One peer's proof.
#[derive(Debug)]
pub(super) struct Authenticator {
    method: Method,
    name: String,
    id: u8,
    challenge: [u8; CHALLENGE],
    left: u8,
    timer: Option<Duration>,
    /// The reply that was given: code and data; the id is that of the packet it answers.
    replied: Option<(u8, Vec<u8>)>,
}

/// What came of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing new.
    Nothing,
    /// It is this user.
    Proved(String),
    /// It is not who it says, which was this.
    Refused(String),
}

impl Authenticator {
    /// Begins; the first challenge, if the method has one, is due at once.
    pub(super) fn new(method: Method, name: &str, now: Duration, random: &mut Random) -> Self {
        let [id] = random.bytes();
        Self {
            method,
            name: name.to_owned(),
            id,
            challenge: random.bytes(),
            left: MAX_CHALLENGES,
            timer: (method != Method::Pap).then_some(now),
            replied: None,
        }
    }

    pub(super) const fn deadline(&self) -> Option<Duration> {
        self.timer
    }

    /// The challenge, or the success again, when it is due; an error after the last challenge.
    pub(super) fn tick(&mut self, now: Duration) -> Result<Option<Vec<u8>>, NoAnswer> {
        if self.timer.is_none_or(|at| at > now) {
            return Ok(None);
        }
        self.timer = Some(now + RESTART);
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        match (&self.replied, left) {
            (Some((code, data)), Some(_)) => Ok(Some(frame(protocol::CHAP, *code, self.id, data))),
            (Some(_), None) => {
                self.timer = None;
                Ok(None)
            }
            (None, Some(_)) => {
                let data = chap::challenge(&self.challenge, &self.name);
                Ok(Some(frame(protocol::CHAP, chap::code::CHALLENGE, self.id, &data)))
            }
            (None, None) => Err(NoAnswer),
        }
    }

    /// The peer has gone on, so it knows the outcome.
    pub(super) fn heard(&mut self) {
        self.timer = None;
    }

    /// Takes a packet of an authentication protocol; `out` gets the reply.
    pub(super) fn receive(
        &mut self,
        now: Duration,
        number: u16,
        packet: &Packet<'_>,
        desk: &dyn Desk,
        out: &mut Vec<Vec<u8>>,
    ) -> Outcome {
        let verdict = match (self.method, number, packet.code) {
            (Method::Pap, protocol::PAP, pap::REQUEST) => Some(Verdict::of_pap(packet, desk)),
            (Method::MsChapV2 | Method::ChapMd5, protocol::CHAP, chap::code::RESPONSE)
                if packet.id == self.id =>
            {
                self.judge_response(packet, desk)
            }
            _ => None,
        };
        let Some(verdict) = verdict else { return Outcome::Nothing };
        let (outcome, reply) = match self.replied.take() {
            Some(reply) => (Outcome::Nothing, reply),
            None => (verdict.outcome, verdict.reply),
        };
        // a response is not repeated by those who made it, so the success is, in case it was lost
        let proved = matches!(outcome, Outcome::Proved(_)) && number == protocol::CHAP;
        if outcome != Outcome::Nothing {
            self.timer = proved.then_some(now + RESTART);
            self.left = MAX_SUCCESSES;
        }
        out.push(frame(number, reply.0, packet.id, &reply.1));
        self.replied = Some(reply);
        outcome
    }

    fn judge_response(&self, packet: &Packet<'_>, desk: &dyn Desk) -> Option<Verdict> {
        let response = chap::response(packet)?;
        let (user, password) = lookup(desk, response.name);
        let words = chap::verify(self.method, self.id, &self.challenge, &response, password);
        Some(match (user, words) {
            (Some(user), Some(words)) => Verdict {
                outcome: Outcome::Proved(user.to_owned()),
                reply: (chap::code::SUCCESS, words.into_bytes()),
            },
            _ => Verdict {
                outcome: Outcome::Refused(response.name.to_owned()),
                reply: (
                    chap::code::FAILURE,
                    chap::failure(self.method, &self.challenge).into_bytes(),
                ),
            },
        })
    }
}

/// What is thought of a proof, and the code and data of the packet that says so.
struct Verdict {
    outcome: Outcome,
    reply: (u8, Vec<u8>),
}

impl Verdict {
    fn of_pap(packet: &Packet<'_>, desk: &dyn Desk) -> Self {
        let (name, given) = credentials(packet.data).unwrap_or_default();
        let (user, password) = lookup(desk, name);
        let good = same_bytes(password.as_bytes(), given);
        let (outcome, code, text) = match user.filter(|_| good) {
            Some(user) => (Outcome::Proved(user.to_owned()), pap::ACK, "welcome"),
            None => (Outcome::Refused(name.to_owned()), pap::NAK, "wrong name or password"),
        };
        let mut data = vec![u8::try_from(text.len()).unwrap_or(0)];
        data.extend(text.as_bytes());
        Self { outcome, reply: (code, data) }
    }
}

/// The user that `name` means and its password; for an unknown one a password that is compared in vain.
fn lookup<'a>(desk: &'a dyn Desk, name: &'a str) -> (Option<&'a str>, &'a str) {
    let known = |user: &'a str| desk.password(user).map(|password| (Some(user), password));
    known(name).or_else(|| known(without_domain(name))).unwrap_or((None, "no such user"))
}

/// Name and password of PAP; `None` when lengths are wrong or the name is no text.
fn credentials(data: &[u8]) -> Option<(&str, &[u8])> {
    let mut reader = Reader::new(data);
    let length = reader.u8()?;
    let name = reader.take(usize::from(length))?;
    let length = reader.u8()?;
    Some((std::str::from_utf8(name).ok()?, reader.take(usize::from(length))?))
}

fn frame(number: u16, code: u8, id: u8, data: &[u8]) -> Vec<u8> {
    encode_frame(number, &Packet { code, id, data }.encode())
}

/// Nobody answered the challenges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer;
