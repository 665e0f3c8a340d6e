//! All tunnels of one server.

use std::collections::BTreeMap;
use std::time::Duration;

use super::datagram::{Control, Datagram, encode_control};
use super::message::{self, ErrorCode, Fields, Kind, StopReason};
use super::tunnel::Tunnel;
use super::{Action, Malformed, Peer, SessionKey, decode};
use crate::vpn::Random;

/// What an administrator may want otherwise, with what is good for road warriors.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name for ourselves.
    pub host: String,
    /// Secret for tunnel authentication and hidden values; with one, peers without it are refused. Default: none, for
    /// IPsec has authenticated the peer.
    pub secret: Option<Vec<u8>>,
    /// Silence after which a peer is asked whether it is there. Default: 60 s (RFC 2661 6.5).
    pub hello_every: Duration,
    /// Tunnels at once. Default: 1024.
    pub tunnels: usize,
    /// Tunnels at once of one peer. Default: 4; one is usual, a second while the first one ends.
    pub tunnels_per_peer: usize,
    /// Calls in one tunnel. Default: 4; road warriors make one.
    pub calls_per_tunnel: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "sluice".to_owned(),
            secret: None,
            hello_every: Duration::from_mins(1),
            tunnels: 1024,
            tunnels_per_peer: 4,
            calls_per_tunnel: 4,
        }
    }
}

/// What the steps of one call share.
pub(super) struct Context<'a> {
    pub(super) now: Duration,
    pub(super) settings: &'a Settings,
    pub(super) random: &'a mut Random,
    pub(super) out: &'a mut Vec<Action>,
}

impl Context<'_> {
    /// A random id that is not `taken`. Ids that cannot be guessed keep others from speaking for a peer.
    pub(super) fn free(&mut self, taken: impl Fn(u16) -> bool) -> u16 {
        let mut id = self.random.nonzero();
        // far fewer are in use than there are
        while taken(id) || id == 0 {
            id = id.wrapping_add(1);
        }
        id
    }
}

/// Datagrams that nobody was found for, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Not L2TPv2.
    pub malformed: u64,
    /// Of no tunnel, or of one that another peer opened.
    pub stray: u64,
    /// Requests for a tunnel that were refused.
    pub refused: u64,
}

/// The server: every tunnel and every call.
#[derive(Debug)]
pub struct Lns {
    settings: Settings,
    random: Random,
    tunnels: BTreeMap<u16, Tunnel>,
    out: Vec<Action>,
    dropped: Dropped,
}

impl Lns {
    /// A server without tunnels.
    pub fn new(settings: Settings, random: Random) -> Self {
        let dropped = Dropped::default();
        Self { settings, random, tunnels: BTreeMap::new(), out: Vec::new(), dropped }
    }

    /// What is to be done, taken out.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }

    /// What was dropped so far.
    pub const fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Tunnels that are set up or about to be.
    pub fn tunnels(&self) -> usize {
        self.tunnels.values().filter(|tunnel| !tunnel.is_ended()).count()
    }

    /// Calls that are set up.
    pub fn calls(&self) -> Vec<SessionKey> {
        self.tunnels.values().flat_map(Tunnel::calls).collect()
    }

    /// Takes a datagram. A PPP frame of a call that is set up is given back: it is for whoever speaks PPP.
    pub fn datagram<'a>(
        &mut self,
        now: Duration,
        peer: Peer,
        bytes: &'a [u8],
    ) -> Option<(SessionKey, &'a [u8])> {
        match decode(bytes) {
            Ok(Datagram::Control(control)) => self.control(now, peer, &control),
            Ok(Datagram::Data(data)) => {
                let key = SessionKey { tunnel: data.tunnel, session: data.session };
                if self.is_call_of(peer, key) {
                    return Some((key, data.payload));
                }
                self.dropped.stray += 1;
            }
            Err(malformed) => self.malformed(malformed),
        }
        None
    }

    fn malformed(&mut self, malformed: Malformed) {
        self.dropped.malformed += 1;
        tracing::debug!(%malformed, "l2tp datagram dropped");
    }

    fn is_call_of(&self, peer: Peer, key: SessionKey) -> bool {
        let tunnel = self.tunnels.get(&key.tunnel).filter(|tunnel| tunnel.peer == peer);
        tunnel.is_some_and(|tunnel| tunnel.has_call(key.session))
    }

    fn control(&mut self, now: Duration, peer: Peer, control: &Control<'_>) {
        if control.tunnel == 0 {
            return self.unaddressed(now, peer, control);
        }
        if self.tunnels.get(&control.tunnel).is_none_or(|tunnel| tunnel.peer != peer) {
            self.dropped.stray += 1;
            return;
        }
        self.with(now, control.tunnel, |tunnel, context| tunnel.control(context, control));
    }

    fn with(&mut self, now: Duration, id: u16, act: impl FnOnce(&mut Tunnel, &mut Context<'_>)) {
        let Self { settings, random, out, tunnels, .. } = self;
        if let Some(tunnel) = tunnels.get_mut(&id) {
            act(tunnel, &mut Context { now, settings, random, out });
        }
    }

    /// A message to tunnel 0: a request to start, or a peer that gave up before it learnt our id.
    fn unaddressed(&mut self, now: Duration, peer: Peer, control: &Control<'_>) {
        let read = message::read(control.body, self.settings.secret.as_deref());
        let Ok(Some(message)) = read else {
            self.dropped.malformed += 1;
            return;
        };
        // a channel begins with message 0 (RFC 2661 5.8)
        let first = control.ns == 0 || message.kind == Kind::Stop;
        let Some(peer_id) = message.fields.tunnel.filter(|id| first && *id != 0) else {
            self.dropped.malformed += 1;
            return;
        };
        let known = self.tunnels.iter().find(|(_, tunnel)| {
            tunnel.peer == peer && tunnel.peer_id() == peer_id && !tunnel.is_ended()
        });
        let known = known.map(|(id, tunnel)| (*id, tunnel.is_echo(now)));
        match (message.kind, known) {
            (Kind::Stop, Some((id, _))) | (Kind::StartRequest, Some((id, true))) => {
                self.with(now, id, |tunnel, context| tunnel.control(context, control));
            }
            (Kind::StartRequest, Some((id, false))) => {
                self.stop(now, id, StopReason::Clear, "the client has restarted");
                self.start(now, peer, peer_id, message.fields, control);
            }
            (Kind::StartRequest, None) => self.start(now, peer, peer_id, message.fields, control),
            _ => self.dropped.stray += 1,
        }
    }

    fn start(
        &mut self,
        now: Duration,
        peer: Peer,
        peer_id: u16,
        asked: Fields,
        first: &Control<'_>,
    ) {
        if let Some(reason) = self.objection(peer, &asked) {
            self.dropped.refused += 1;
            return self.refuse(peer, peer_id, reason);
        }
        let Self { settings, random, out, tunnels, .. } = self;
        let mut context = Context { now, settings, random, out };
        let id = context.free(|id| tunnels.contains_key(&id));
        let mut tunnel = Tunnel::start(&mut context, id, peer_id, peer, asked);
        tunnel.first(&mut context, first);
        tunnels.insert(id, tunnel);
    }

    fn objection(&mut self, peer: Peer, asked: &Fields) -> Option<StopReason> {
        if asked.version.is_some_and(|[version, _]| version != 1) {
            return Some(StopReason::Version);
        }
        if asked.challenge.is_some() && self.settings.secret.is_none() {
            return Some(StopReason::NotAuthorized);
        }
        if self.tunnels.len() >= self.settings.tunnels {
            self.tunnels.retain(|_, tunnel| !tunnel.is_ended());
        }
        let mine = self.tunnels.values().filter(|other| other.peer == peer && !other.is_ended());
        let full = mine.count() >= self.settings.tunnels_per_peer
            || self.tunnels.len() >= self.settings.tunnels;
        full.then_some(StopReason::Busy)
    }

    /// Says no and keeps nothing: a peer that repeats its request is told again.
    fn refuse(&mut self, peer: Peer, peer_id: u16, reason: StopReason) {
        let body = message::stop(self.random.nonzero(), reason, "");
        let control = Control { tunnel: peer_id, session: 0, ns: 0, nr: 1, body: &body };
        self.out.push(Action::Send { peer, bytes: encode_control(&control) });
    }

    /// Ends a call; nothing happens when there is none.
    pub fn hang_up(&mut self, now: Duration, key: SessionKey, reason: StopReason, text: &str) {
        self.with(now, key.tunnel, |tunnel, context| {
            tunnel.hang_up(context, key.session, reason, text);
            tunnel.flush(context);
        });
    }

    /// Ends a tunnel with all its calls; nothing happens when there is none.
    pub fn stop(&mut self, now: Duration, tunnel: u16, reason: StopReason, text: &str) {
        self.with(now, tunnel, |tunnel, context| {
            tunnel.stop(context, reason, text);
            tunnel.flush(context);
        });
    }

    /// Ends everything: this server goes away.
    pub fn shut_down(&mut self, now: Duration) {
        let ids: Vec<u16> = self.tunnels.keys().copied().collect();
        for id in ids {
            self.stop(now, id, StopReason::ShuttingDown, "the server shuts down");
        }
    }

    /// The data path of a tunnel could not be made.
    pub fn failed(&mut self, now: Duration, tunnel: u16, text: &str) {
        self.stop(now, tunnel, StopReason::Error(ErrorCode::Resources), text);
    }

    /// Does what is due by `now`.
    pub fn tick(&mut self, now: Duration) {
        let Self { settings, random, out, tunnels, .. } = self;
        tunnels.retain(|_, tunnel| {
            tunnel.deadline(settings) > now
                || tunnel.tick(&mut Context { now, settings, random, out })
        });
    }

    /// When to call [`Lns::tick`] next; `None` when nothing is to come.
    pub fn deadline(&self) -> Option<Duration> {
        self.tunnels.values().map(|tunnel| tunnel.deadline(&self.settings)).min()
    }
}
