//! One tunnel: its control connection and its calls (RFC 2661 7.2.1, 7.4.2).
//!
//! Guarantees: a tunnel that is not set up, that has no call, or whose peer is silent, ends by itself; an ended one
//! answers repetitions for a while and then is forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use super::channel::{Body, Channel, WINDOW};
use super::datagram::Control;
use super::hidden;
use super::lns::{Context, Settings};
use super::message::{self, End, ErrorCode, Fault, Fields, Kind, Message, Start, StopReason};
use super::session::Session;
use super::{Action, Peer, SessionKey};
use crate::vpn::same_bytes;

/// How long a peer may take to set the tunnel up, and how long a tunnel may be without a call.
const SETUP: Duration = Duration::from_secs(30);
const EMPTY: Duration = Duration::from_mins(1);
/// How long an ended tunnel answers repetitions: as long as the peer repeats (RFC 2661 5.7).
const LINGER: Duration = Duration::from_secs(31);
/// After this, a request to start with an id that is in use is no echo of the old one: the peer has restarted.
const ECHO: Duration = Duration::from_secs(10);
/// Messages that may wait for a peer that acknowledges nothing.
const BACKLOG: usize = 64;

/// Where the control connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Our reply is sent; the peer has to confirm it.
    Waiting { until: Duration },
    /// In use; `empty` since when no call is there.
    Established { since: Duration, empty: Option<Duration> },
    /// Over; repetitions are acknowledged.
    Ended { until: Duration },
}

/// A tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    id: u16,
    peer_id: u16,
    pub(super) peer: Peer,
    host: String,
    state: State,
    channel: Channel,
    sessions: BTreeMap<u16, Session>,
    /// What our challenge must be answered by.
    expected: Option<[u8; 16]>,
    heard: Duration,
}

impl Tunnel {
    /// A tunnel as `request` asks for it; the reply is in line.
    pub(super) fn start(
        context: &mut Context<'_>,
        id: u16,
        peer_id: u16,
        peer: Peer,
        request: Fields,
    ) -> Self {
        let secret = context.settings.secret.as_deref();
        let challenge: Option<[u8; 16]> = secret.map(|_| context.random.bytes());
        let answer = |kind: Kind, challenge: &[u8]| {
            secret.map(|secret| hidden::response(kind.number(), secret, challenge))
        };
        let reply = message::start_reply(&Start {
            host: &context.settings.host,
            tunnel: id,
            window: WINDOW,
            challenge: challenge.as_ref().map(<[u8; 16]>::as_slice),
            response: request.challenge.and_then(|given| answer(Kind::StartReply, &given)),
        });
        let mut channel = Channel::default();
        if let Some(window) = request.window {
            channel.set_window(window);
        }
        channel.send(0, reply);
        Self {
            id,
            peer_id,
            peer,
            host: request.host.unwrap_or_default(),
            state: State::Waiting { until: context.now + SETUP },
            channel,
            sessions: BTreeMap::new(),
            expected: challenge.and_then(|challenge| answer(Kind::StartConnected, &challenge)),
            heard: context.now,
        }
    }

    /// Counts `request`, which made this tunnel, as the channel's first message, and answers it.
    pub(super) fn first(&mut self, context: &mut Context<'_>, request: &Control<'_>) {
        self.channel.receive(context.now, request);
        self.flush(context);
    }

    pub(super) const fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }

    /// True when `request` from this tunnel's peer, with this tunnel's id, is the one that began it, on its way twice.
    pub(super) fn is_echo(&self, now: Duration) -> bool {
        match self.state {
            State::Waiting { .. } => true,
            State::Established { since, .. } => now < since + ECHO,
            State::Ended { .. } => false,
        }
    }

    pub(super) const fn peer_id(&self) -> u16 {
        self.peer_id
    }

    /// Our ids of its calls that are set up.
    pub(super) fn calls(&self) -> impl Iterator<Item = SessionKey> + '_ {
        let up = self.sessions.iter().filter(|(_, session)| session.is_up());
        up.map(|(session, _)| SessionKey { tunnel: self.id, session: *session })
    }

    pub(super) fn has_call(&self, session: u16) -> bool {
        self.sessions.get(&session).is_some_and(Session::is_up)
    }

    /// Takes a control message of this tunnel.
    pub(super) fn control(&mut self, context: &mut Context<'_>, control: &Control<'_>) {
        self.heard = context.now;
        for Body { session, bytes } in self.channel.receive(context.now, control) {
            if self.is_ended() {
                break;
            }
            match message::read(&bytes, context.settings.secret.as_deref()) {
                Ok(Some(message)) => self.message(context, session, message),
                Ok(None) => (),
                Err(fault) => self.fault(context, session, &fault),
            }
        }
        self.flush(context);
    }

    /// Sends what can be sent.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) {
        for bytes in self.channel.transmit(context.now, self.peer_id) {
            context.out.push(Action::Send { peer: self.peer, bytes });
        }
    }

    fn message(&mut self, context: &mut Context<'_>, session: u16, message: Message) {
        let Message { kind, fields } = message;
        match (kind, self.state) {
            (Kind::Stop, _) => {
                let (result, error, text) = fields.result.unwrap_or_default();
                self.over(context, &End::Peers { result, error, text });
            }
            (Kind::StartConnected, State::Waiting { .. }) => self.connected(context, &fields),
            (Kind::IncomingRequest, State::Established { .. }) => {
                if let Err(fault) = self.incoming(context, &fields) {
                    self.fault(context, 0, &fault);
                }
            }
            (Kind::IncomingConnected, State::Established { .. }) => {
                self.call_connected(context, session, &fields);
            }
            (Kind::CallDisconnect, State::Established { .. }) => {
                self.call_ended(context, session, fields);
            }
            (Kind::OutgoingRequest, State::Established { .. }) => {
                self.refuse_call(fields.session, StopReason::NotAuthorized, "no outgoing calls");
            }
            (Kind::Hello | Kind::WanError | Kind::LinkInfo, _)
            // late echoes of what was done already, and answers to what we never ask
            | (Kind::StartConnected | Kind::StartRequest, State::Established { .. }) => (),
            _ => {
                let reason = StopReason::Error(ErrorCode::NoConnection);
                self.stop(context, reason, "a message out of place");
            }
        }
    }

    fn connected(&mut self, context: &mut Context<'_>, fields: &Fields) {
        if let Some(expected) = self.expected
            && !fields.response.is_some_and(|given| same_bytes(&given, &expected))
        {
            return self.stop(context, StopReason::NotAuthorized, "wrong tunnel secret");
        }
        self.state = State::Established { since: context.now, empty: Some(context.now) };
        context.out.push(Action::TunnelUp {
            tunnel: self.id,
            peer_tunnel: self.peer_id,
            peer: self.peer,
            host: self.host.clone(),
        });
    }

    fn incoming(&mut self, context: &mut Context<'_>, fields: &Fields) -> Result<(), Fault> {
        let kind = super::avp::kind::ASSIGNED_SESSION;
        let peer = fields.session.ok_or(Fault::Missing { kind })?;
        if peer == 0 || self.sessions.values().any(|session| session.peer == peer) {
            return Err(Fault::Value { kind });
        }
        if self.sessions.len() >= context.settings.calls_per_tunnel {
            self.refuse_call(Some(peer), StopReason::Busy, "too many calls in this tunnel");
            return Ok(());
        }
        let id = context.free(|id| self.sessions.contains_key(&id));
        self.sessions.insert(id, Session::new(peer, context.now));
        self.channel.send(peer, message::incoming_reply(id));
        self.note_calls(context.now);
        Ok(())
    }

    fn refuse_call(&mut self, peer: Option<u16>, reason: StopReason, text: &str) {
        if let Some(peer) = peer {
            // there is no id of ours to name
            self.channel.send(peer, message::call_disconnect(0, reason, text));
        }
    }

    fn call_connected(&mut self, context: &mut Context<'_>, id: u16, fields: &Fields) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.is_up() {
            return;
        }
        session.until = None;
        context.out.push(Action::SessionUp {
            key: SessionKey { tunnel: self.id, session: id },
            peer_session: session.peer,
            sequenced: fields.sequencing,
        });
    }

    fn call_ended(&mut self, context: &mut Context<'_>, id: u16, fields: Fields) {
        let theirs = |session: &Session| Some(session.peer) == fields.session;
        let id = match id {
            // the peer gave up before it knew our id
            0 => self.sessions.iter().find(|(_, session)| theirs(session)).map(|(id, _)| *id),
            id => Some(id),
        };
        let (result, error, text) = fields.result.unwrap_or_default();
        if let Some(id) = id {
            self.forget(context, id, &End::Peers { result, error, text });
        }
    }

    /// Takes a call out; says so if it was set up.
    fn forget(&mut self, context: &mut Context<'_>, id: u16, end: &End) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        if session.is_up() {
            let key = SessionKey { tunnel: self.id, session: id };
            context.out.push(Action::SessionDown { key, end: end.clone() });
        }
        self.note_calls(context.now);
        Some(session)
    }

    fn note_calls(&mut self, now: Duration) {
        if let State::Established { empty, .. } = &mut self.state {
            *empty = self.sessions.is_empty().then(|| empty.unwrap_or(now));
        }
    }

    /// Ends a call and tells the peer.
    pub(super) fn hang_up(
        &mut self,
        context: &mut Context<'_>,
        id: u16,
        reason: StopReason,
        text: &str,
    ) {
        if let Some(session) = self.forget(context, id, &End::Ours(text.to_owned())) {
            self.channel.send(session.peer, message::call_disconnect(id, reason, text));
        }
    }

    fn fault(&mut self, context: &mut Context<'_>, session: u16, fault: &Fault) {
        let reason = StopReason::Error(fault.error());
        if self.sessions.contains_key(&session) {
            self.hang_up(context, session, reason, &fault.to_string());
        } else {
            self.stop(context, reason, &fault.to_string());
        }
    }

    /// Ends the tunnel and tells the peer.
    pub(super) fn stop(&mut self, context: &mut Context<'_>, reason: StopReason, text: &str) {
        if !self.is_ended() {
            self.over(context, &End::Ours(text.to_owned()));
            self.channel.send(0, message::stop(self.id, reason, text));
        }
    }

    /// Everything of the tunnel is over, but for acknowledgements.
    fn over(&mut self, context: &mut Context<'_>, end: &End) {
        let ids: Vec<u16> = self.sessions.keys().copied().collect();
        for id in ids {
            self.forget(context, id, end);
        }
        if matches!(self.state, State::Established { .. }) {
            context.out.push(Action::TunnelDown { tunnel: self.id, end: end.clone() });
        }
        self.state = State::Ended { until: context.now + LINGER };
    }

    /// Does what is due; `false` when the tunnel can be forgotten.
    pub(super) fn tick(&mut self, context: &mut Context<'_>) -> bool {
        if let Ok(repeated) = self.channel.tick(context.now, self.peer_id) {
            context.out.extend(repeated.map(|bytes| Action::Send { peer: self.peer, bytes }));
        } else {
            self.over(context, &End::Silent);
            return false;
        }
        self.expire(context);
        self.flush(context);
        !matches!(self.state, State::Ended { until } if until <= context.now)
    }

    fn expire(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let late = |until: Option<Duration>| until.is_some_and(|until| until <= now);
        let calls: Vec<u16> =
            self.sessions.iter().filter(|(_, call)| late(call.until)).map(|(id, _)| *id).collect();
        for id in calls {
            self.hang_up(context, id, StopReason::Lost, "the call was not connected in time");
        }
        match self.state {
            State::Waiting { until } if until <= now => {
                self.stop(context, StopReason::Clear, "the tunnel was not set up in time");
            }
            State::Established { empty: Some(since), .. } if since + EMPTY <= now => {
                self.stop(context, StopReason::Clear, "no call in this tunnel");
            }
            State::Established { .. } if self.channel.backlog() > BACKLOG => {
                self.stop(context, StopReason::Busy, "the client acknowledges nothing");
            }
            State::Established { .. } if self.hello_at(context.settings) <= now => {
                self.heard = now;
                self.channel.send(0, message::hello());
            }
            _ => (),
        }
    }

    fn hello_at(&self, settings: &Settings) -> Duration {
        self.heard + settings.hello_every
    }

    /// When to call [`Tunnel::tick`].
    pub(super) fn deadline(&self, settings: &Settings) -> Duration {
        let state = match self.state {
            State::Waiting { until } | State::Ended { until } => until,
            State::Established { empty, .. } => {
                let hello = self.hello_at(settings);
                empty.map_or(hello, |since| hello.min(since + EMPTY))
            }
        };
        let calls = self.sessions.values().filter_map(|session| session.until);
        calls.chain(self.channel.deadline()).fold(state, Duration::min)
    }
}
