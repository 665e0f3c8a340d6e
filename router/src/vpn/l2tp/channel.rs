//! The reliable channel of control messages (RFC 2661 5.8, appendices A and B).
//!
//! Guarantees: messages are delivered once and in order, whatever is lost, doubled or overtaken; what waits for the
//! peer is bounded by the caller, what waits for an earlier message by [`WINDOW`]; a peer that stays silent through all
//! repetitions is given up after 31 seconds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::datagram::{Control, encode_control};

/// Messages that a peer may have under way to us; those ahead of a lost one are kept.
pub(super) const WINDOW: u16 = 8;
/// What a peer takes that does not say so (RFC 2661 4.4.3, "Receive Window Size").
const DEFAULT_WINDOW: u16 = 4;
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// Pauses double up to here.
const LONGEST_PATIENCE: Duration = Duration::from_secs(8);
/// Repetitions without an answer before the peer is given up.
const REPETITIONS: u32 = 5;

/// One message's call and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) session: u16,
    pub(super) bytes: Vec<u8>,
}

/// One end of the channel.
#[derive(Debug)]
pub(super) struct Channel {
    /// Number of the message that the peer is to send next.
    expected: u16,
    /// Number of our next new message.
    next: u16,
    /// Sent and not acknowledged, oldest first.
    sent: VecDeque<(u16, Body)>,
    waiting: VecDeque<Body>,
    /// Came before the expected one.
    early: BTreeMap<u16, Body>,
    window: u16,
    /// Congestion window and threshold, in messages; `grown` counts towards the next step of the former.
    congestion: u16,
    threshold: u16,
    grown: u16,
    repeated: u32,
    repeat_at: Option<Duration>,
    owes_ack: bool,
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            expected: 0,
            next: 0,
            sent: VecDeque::new(),
            waiting: VecDeque::new(),
            early: BTreeMap::new(),
            window: DEFAULT_WINDOW,
            congestion: 1,
            threshold: DEFAULT_WINDOW,
            grown: 0,
            repeated: 0,
            repeat_at: None,
            owes_ack: false,
        }
    }
}

/// True when `one` comes before `other` in the circle of numbers.
const fn before(one: u16, other: u16) -> bool {
    other.wrapping_sub(one).wrapping_sub(1) < 0x7fff
}

impl Channel {
    /// What the peer said it takes; 0 is no number of messages.
    pub(super) fn set_window(&mut self, window: u16) {
        self.window = window.max(1);
        self.threshold = self.window;
    }

    /// Puts a message in line.
    pub(super) fn send(&mut self, session: u16, bytes: Vec<u8>) {
        self.waiting.push_back(Body { session, bytes });
    }

    /// Messages that are not acknowledged yet, sent or not.
    pub(super) fn backlog(&self) -> usize {
        self.sent.len() + self.waiting.len()
    }

    /// When to call [`Channel::tick`].
    pub(super) const fn deadline(&self) -> Option<Duration> {
        self.repeat_at
    }

    /// Takes a message; what can be delivered now, in order.
    pub(super) fn receive(&mut self, now: Duration, message: &Control<'_>) -> Vec<Body> {
        self.acknowledged(now, message.nr);
        if message.body.is_empty() {
            return Vec::new();
        }
        self.owes_ack = true;
        let ahead = message.ns.wrapping_sub(self.expected);
        let body = || Body { session: message.session, bytes: message.body.to_vec() };
        if (1..WINDOW).contains(&ahead) {
            self.early.entry(message.ns).or_insert_with(body);
        }
        if ahead != 0 {
            return Vec::new();
        }
        let mut ready = vec![body()];
        self.expected = self.expected.wrapping_add(1);
        while let Some(body) = self.early.remove(&self.expected) {
            self.expected = self.expected.wrapping_add(1);
            ready.push(body);
        }
        ready
    }

    /// The peer has everything before `nr`; a number that it cannot have in mind is not taken.
    fn acknowledged(&mut self, now: Duration, nr: u16) {
        let mut count: u16 = 0;
        if before(self.next, nr) {
            return;
        }
        while self.sent.front().is_some_and(|(ns, _)| before(*ns, nr)) {
            self.sent.pop_front();
            count += 1;
        }
        if count == 0 {
            return;
        }
        self.repeated = 0;
        self.repeat_at = (!self.sent.is_empty()).then_some(now + FIRST_PATIENCE);
        (0..count).for_each(|_| self.grow());
    }

    /// Slow start to the threshold, then one more for each full window.
    fn grow(&mut self) {
        self.grown += 1;
        if self.congestion < self.threshold || self.grown >= self.congestion {
            self.congestion = self.congestion.saturating_add(1).min(self.window);
            self.grown = 0;
        }
    }

    /// Datagrams to send now: new messages as far as the windows allow, or an acknowledgement when one is owed.
    pub(super) fn transmit(&mut self, now: Duration, tunnel: u16) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while self.sent.len() < usize::from(self.window.min(self.congestion)) {
            let Some(body) = self.waiting.pop_front() else { break };
            let ns = self.next;
            self.next = self.next.wrapping_add(1);
            out.push(self.encode(tunnel, ns, &body));
            self.sent.push_back((ns, body));
        }
        if out.is_empty() && self.owes_ack {
            out.push(self.encode(tunnel, self.next, &Body { session: 0, bytes: Vec::new() }));
        }
        self.owes_ack = false;
        if !self.sent.is_empty() && self.repeat_at.is_none() {
            self.repeat_at = Some(now + FIRST_PATIENCE);
        }
        out
    }

    fn encode(&self, tunnel: u16, ns: u16, body: &Body) -> Vec<u8> {
        let (session, nr) = (body.session, self.expected);
        encode_control(&Control { tunnel, session, ns, nr, body: &body.bytes })
    }

    /// Repeats the oldest message when its time has come; an error when the peer is given up.
    pub(super) fn tick(&mut self, now: Duration, tunnel: u16) -> Result<Option<Vec<u8>>, Silent> {
        if self.repeat_at.is_none_or(|at| at > now) {
            return Ok(None);
        }
        if self.repeated == REPETITIONS {
            return Err(Silent);
        }
        self.repeated += 1;
        self.threshold = (self.congestion / 2).max(1);
        self.congestion = 1;
        self.grown = 0;
        self.repeat_at = Some(now + LONGEST_PATIENCE.min(FIRST_PATIENCE * (1 << self.repeated)));
        Ok(self.sent.front().map(|(ns, body)| self.encode(tunnel, *ns, body)))
    }
}

/// The peer was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silent;
