//! The option negotiation automaton (RFC 1661 4), the same for LCP and IPCP.
//!
//! Guarantees: the state table of RFC 1661 4.1, event by event, but for packets that the network doubled; every request is repeated a bounded number of times; a
//! packet that answers no request of ours changes nothing.

use std::time::Duration;

use super::RESTART;
use super::packet::{Choice, Packet, choices, encode_frame};

/// Configure-Requests without an answer (RFC 1661 4.6, "Max-Configure").
const MAX_CONFIGURE: u8 = 10;
/// Terminate-Requests without an answer ("Max-Terminate").
const MAX_TERMINATE: u8 = 2;
/// Configure-Naks that we send before there is no agreement to be had ("Max-Failure"; 5 there, where none are lost).
const MAX_FAILURE: u8 = 10;
/// Times that the peer may send us back to the start; without a bound two stubborn ends would go on for ever.
const MAX_ROUNDS: u8 = 30;

/// Codes of RFC 1661 5.
pub(super) mod code {
    pub(crate) const CONFIGURE_REQUEST: u8 = 1;
    pub(crate) const CONFIGURE_ACK: u8 = 2;
    pub(crate) const CONFIGURE_NAK: u8 = 3;
    pub(crate) const CONFIGURE_REJECT: u8 = 4;
    pub(crate) const TERMINATE_REQUEST: u8 = 5;
    pub(crate) const TERMINATE_ACK: u8 = 6;
    pub(crate) const CODE_REJECT: u8 = 7;
}

/// What a control protocol negotiates.
pub(super) trait Protocol {
    /// Number in frames.
    const NUMBER: u16;

    /// The options that we ask for.
    fn request(&self) -> Vec<u8>;

    /// What the peer asks for; what is acknowledged is kept.
    fn judge(&mut self, asked: &[Choice<'_>]) -> Judgement;

    /// The peer would have these values; those that suit are asked for from now on. `false`: no agreement is possible.
    fn naked(&mut self, wanted: &[Choice<'_>]) -> bool;

    /// The peer does not know these options; they are not asked for again. `false`: without them it cannot be.
    fn rejected(&mut self, unknown: &[Choice<'_>]) -> bool;
}

/// What we say to what the peer asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Ack,
    /// These values instead.
    Nak(Vec<u8>),
    /// Not these options.
    Reject(Vec<u8>),
}

/// States of RFC 1661 4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Initial,
    Starting,
    Closed,
    Stopped,
    Closing,
    Stopping,
    RequestSent,
    AckReceived,
    AckSent,
    Opened,
}

/// What the layers around are told (RFC 1661 4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// A frame for the peer.
    Frame(Vec<u8>),
    /// This-Layer-Up.
    Up,
    /// This-Layer-Down.
    Down,
    /// This-Layer-Finished.
    Finished,
    /// There is no agreement to be had; whoever owns the automaton should close it.
    Disagreed(&'static str),
}

/// One protocol's negotiation.
#[derive(Debug)]
pub(super) struct Automaton<P> {
    pub(super) protocol: P,
    state: State,
    /// Id of our last request.
    id: u8,
    /// Options of our last Configure-Request.
    asked: Vec<u8>,
    /// The peer has acknowledged it.
    acked: bool,
    /// Id and options of the peer's request that we acknowledged last.
    granted: Option<(u8, Vec<u8>)>,
    /// Repetitions left.
    left: u8,
    failures: u8,
    rounds: u8,
    /// Id of our last Code-Reject.
    rejects: u8,
    timer: Option<Duration>,
    out: Vec<Signal>,
}

impl<P: Protocol> Automaton<P> {
    pub(super) fn new(protocol: P) -> Self {
        Self {
            protocol,
            state: State::Initial,
            id: 0,
            asked: Vec::new(),
            acked: false,
            granted: None,
            left: 0,
            failures: 0,
            rounds: 0,
            rejects: 0,
            timer: None,
            out: Vec::new(),
        }
    }

    pub(super) fn is_opened(&self) -> bool {
        self.state == State::Opened
    }

    pub(super) const fn deadline(&self) -> Option<Duration> {
        self.timer
    }

    pub(super) fn signals(&mut self) -> Vec<Signal> {
        std::mem::take(&mut self.out)
    }

    /// The lower layer is ready.
    pub(super) fn up(&mut self, now: Duration) {
        match self.state {
            State::Initial => self.state = State::Closed,
            State::Starting => self.begin(now),
            _ => (),
        }
    }

    /// The lower layer is gone. Of our ends only clients outlive that.
    #[cfg(test)]
    pub(super) fn down(&mut self) {
        self.timer = None;
        self.state = match self.state {
            State::Initial | State::Closed | State::Closing => State::Initial,
            State::Opened => {
                self.out.push(Signal::Down);
                State::Starting
            }
            _ => State::Starting,
        };
    }

    /// The link may be made.
    pub(super) fn open(&mut self, now: Duration) {
        match self.state {
            State::Initial => self.state = State::Starting,
            State::Closed => self.begin(now),
            State::Closing => self.state = State::Stopping,
            _ => (),
        }
    }

    /// The link must not be.
    pub(super) fn close(&mut self, now: Duration, reason: &str) {
        match self.state {
            State::Starting => {
                self.state = State::Initial;
                self.out.push(Signal::Finished);
            }
            State::Stopped => self.state = State::Closed,
            State::Stopping => self.state = State::Closing,
            State::RequestSent | State::AckReceived | State::AckSent | State::Opened => {
                if self.is_opened() {
                    self.out.push(Signal::Down);
                }
                self.state = State::Closing;
                self.terminate(now, reason);
            }
            State::Initial | State::Closed | State::Closing => (),
        }
    }

    fn begin(&mut self, now: Duration) {
        self.left = MAX_CONFIGURE;
        self.ask(now);
        self.state = State::RequestSent;
    }

    /// Send-Configure-Request.
    fn ask(&mut self, now: Duration) {
        self.left = self.left.saturating_sub(1);
        self.timer = Some(now + RESTART);
        self.id = self.id.wrapping_add(1);
        self.acked = false;
        self.asked = self.protocol.request();
        let asked = self.asked.clone();
        self.send(code::CONFIGURE_REQUEST, self.id, &asked);
    }

    /// Initialize-Restart-Count, Send-Terminate-Request.
    fn terminate(&mut self, now: Duration, reason: &str) {
        self.left = MAX_TERMINATE - 1;
        self.timer = Some(now + RESTART);
        self.id = self.id.wrapping_add(1);
        self.send(code::TERMINATE_REQUEST, self.id, reason.as_bytes());
    }

    pub(super) fn send(&mut self, code: u8, id: u8, data: &[u8]) {
        let packet = Packet { code, id, data }.encode();
        self.out.push(Signal::Frame(encode_frame(P::NUMBER, &packet)));
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Duration) {
        if self.timer.is_none_or(|at| at > now) {
            return;
        }
        self.timer = None;
        if self.left == 0 {
            return self.give_up();
        }
        match self.state {
            State::Closing | State::Stopping => {
                self.left -= 1;
                self.timer = Some(now + RESTART);
                self.send(code::TERMINATE_REQUEST, self.id, &[]);
            }
            State::RequestSent | State::AckSent => self.ask(now),
            State::AckReceived => {
                self.state = State::RequestSent;
                self.ask(now);
            }
            _ => (),
        }
    }

    fn give_up(&mut self) {
        self.state = match self.state {
            State::Closing => State::Closed,
            State::Stopping | State::RequestSent | State::AckReceived | State::AckSent => {
                State::Stopped
            }
            other => return self.state = other,
        };
        self.out.push(Signal::Finished);
    }

    /// Takes a packet; `false` for a code that only the protocol itself can know.
    pub(super) fn receive(&mut self, now: Duration, packet: &Packet<'_>) -> bool {
        // not ready: what comes is dropped
        if matches!(self.state, State::Initial | State::Starting) {
            return true;
        }
        match packet.code {
            code::CONFIGURE_REQUEST => self.configure_request(now, packet),
            code::CONFIGURE_ACK => self.configure_ack(packet),
            code::CONFIGURE_NAK | code::CONFIGURE_REJECT => self.configure_other(now, packet),
            code::TERMINATE_REQUEST => self.terminate_request(now, packet),
            code::TERMINATE_ACK => self.terminate_ack(now),
            code::CODE_REJECT => self.code_reject(now, packet),
            _ => return false,
        }
        true
    }

    fn configure_request(&mut self, now: Duration, packet: &Packet<'_>) {
        match self.state {
            State::Closed => return self.send(code::TERMINATE_ACK, packet.id, &[]),
            State::Closing | State::Stopping => return,
            _ => (),
        }
        let Some(asked) = choices(packet.data) else { return };
        if self.is_opened() && self.is_granted(packet) {
            // our acknowledgement was lost, or the network doubled the request: nobody wants to begin anew
            return self.send(code::CONFIGURE_ACK, packet.id, packet.data);
        }
        match self.state {
            State::Stopped => {
                self.left = MAX_CONFIGURE;
                self.ask(now);
                self.state = State::RequestSent;
            }
            State::Opened => {
                self.out.push(Signal::Down);
                self.ask_anew(now);
            }
            _ => (),
        }
        let good = match self.protocol.judge(&asked) {
            Judgement::Ack => {
                self.granted = Some((packet.id, packet.data.to_vec()));
                self.send(code::CONFIGURE_ACK, packet.id, packet.data);
                true
            }
            Judgement::Nak(values) => {
                self.nak(packet.id, &values);
                false
            }
            Judgement::Reject(options) => {
                self.send(code::CONFIGURE_REJECT, packet.id, &options);
                self.round();
                false
            }
        };
        self.judged(good);
    }

    fn is_granted(&self, packet: &Packet<'_>) -> bool {
        self.granted.as_ref().is_some_and(|(id, data)| *id == packet.id && data == packet.data)
    }

    fn judged(&mut self, good: bool) {
        self.state = match (self.state, good) {
            (State::AckReceived, true) => return self.opened(),
            (State::AckReceived, false) => State::AckReceived,
            (_, true) => State::AckSent,
            (_, false) => State::RequestSent,
        };
    }

    fn nak(&mut self, id: u8, values: &[u8]) {
        self.send(code::CONFIGURE_NAK, id, values);
        self.failures += 1;
        if self.failures > MAX_FAILURE {
            self.failures = MAX_FAILURE;
            self.out.push(Signal::Disagreed("the client insists on values that it cannot have"));
        }
        self.round();
    }

    fn round(&mut self) {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds == MAX_ROUNDS {
            self.out.push(Signal::Disagreed("negotiation goes round in circles"));
        }
    }

    fn opened(&mut self) {
        self.state = State::Opened;
        self.timer = None;
        self.failures = 0;
        self.rounds = 0;
        self.out.push(Signal::Up);
    }

    /// A new negotiation, begun by a packet that is out of place in the one that was done.
    fn ask_anew(&mut self, now: Duration) {
        self.left = MAX_CONFIGURE;
        self.ask(now);
        self.state = State::RequestSent;
        self.round();
    }

    /// One that comes twice counts once. RFC 1661 would begin anew, but tunnels double packets, which lines do not.
    fn configure_ack(&mut self, packet: &Packet<'_>) {
        match self.state {
            State::Closed | State::Stopped => self.send(code::TERMINATE_ACK, packet.id, &[]),
            _ if self.acked || packet.id != self.id || packet.data != self.asked => (),
            State::RequestSent => {
                self.acked = true;
                self.left = MAX_CONFIGURE;
                self.state = State::AckReceived;
            }
            State::AckSent => {
                self.acked = true;
                self.opened();
            }
            _ => (),
        }
    }

    /// Configure-Nak and Configure-Reject.
    fn configure_other(&mut self, now: Duration, packet: &Packet<'_>) {
        if matches!(self.state, State::Closed | State::Stopped) {
            return self.send(code::TERMINATE_ACK, packet.id, &[]);
        }
        if packet.id != self.id || matches!(self.state, State::Closing | State::Stopping) {
            return;
        }
        let Some(options) = choices(packet.data) else { return };
        let possible = if packet.code == code::CONFIGURE_NAK {
            self.protocol.naked(&options)
        } else {
            self.protocol.rejected(&options)
        };
        if !possible {
            return self.out.push(Signal::Disagreed("the client refuses what is needed"));
        }
        match self.state {
            State::RequestSent | State::AckSent => {
                self.left = MAX_CONFIGURE;
                self.ask(now);
                self.round();
            }
            State::AckReceived => self.ask_anew(now),
            State::Opened => {
                self.out.push(Signal::Down);
                self.ask_anew(now);
            }
            _ => (),
        }
    }

    fn terminate_request(&mut self, now: Duration, packet: &Packet<'_>) {
        match self.state {
            State::Opened => {
                self.out.push(Signal::Down);
                // Zero-Restart-Count: one pause, so that the acknowledgement arrives, then the end
                self.left = 0;
                self.timer = Some(now + RESTART);
                self.state = State::Stopping;
            }
            State::AckReceived | State::AckSent => self.state = State::RequestSent,
            _ => (),
        }
        self.send(code::TERMINATE_ACK, packet.id, &[]);
    }

    fn terminate_ack(&mut self, now: Duration) {
        match self.state {
            State::Closing | State::Stopping => {
                self.timer = None;
                self.give_up();
            }
            State::AckReceived => self.state = State::RequestSent,
            State::Opened => {
                self.out.push(Signal::Down);
                self.ask_anew(now);
            }
            _ => (),
        }
    }

    /// A code that we sent is not known. Those of this automaton are needed; others are not.
    fn code_reject(&mut self, now: Duration, packet: &Packet<'_>) {
        let needed = packet
            .data
            .first()
            .is_some_and(|code| (code::CONFIGURE_REQUEST..=code::CODE_REJECT).contains(code));
        if needed {
            self.impossible(now);
        } else if self.state == State::AckReceived {
            self.state = State::RequestSent;
        }
    }

    /// The peer cannot speak this protocol (RXJ-).
    pub(super) fn impossible(&mut self, now: Duration) {
        match self.state {
            State::Opened => {
                self.out.push(Signal::Down);
                self.state = State::Stopping;
                self.terminate(now, "rejected");
            }
            State::Closed | State::Stopped => self.out.push(Signal::Finished),
            _ => {
                self.timer = None;
                self.give_up();
            }
        }
    }

    /// Send-Code-Reject.
    pub(super) fn reject_code(&mut self, packet: &Packet<'_>) {
        self.rejects = self.rejects.wrapping_add(1);
        let mut rejected = packet.encode();
        rejected.truncate(REJECTED);
        self.send(code::CODE_REJECT, self.rejects, &rejected);
    }
}

/// Bytes of what is rejected that go back with the reject; every peer takes packets of this length.
pub(super) const REJECTED: usize = 128;

#[cfg(test)]
mod tests;
