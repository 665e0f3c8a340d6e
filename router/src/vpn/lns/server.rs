//! The server: L2TP below, PPP above, users and addresses beside.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::access::{Access, Counter};
use super::inform::Told;
use super::slice::LnsSlice;
use crate::vpn::Random;
use crate::vpn::l2tp::{self, Lns, Peer, SessionKey, StopReason};
use crate::vpn::ppp::{Link, Opened, Output};

/// What the caller is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a datagram.
    Send {
        /// To whom.
        peer: Peer,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// Make the data path of a tunnel.
    TunnelUp {
        /// Our id of it.
        tunnel: u16,
        /// The peer's.
        peer_tunnel: u16,
        /// The other end.
        peer: Peer,
    },
    /// Make the data path of a call. Frames of PPP's control protocols are for [`Server::frame`].
    SessionUp {
        /// The call.
        key: SessionKey,
        /// The peer's id of it.
        peer_session: u16,
        /// Number the data.
        sequenced: bool,
    },
    /// Send a PPP frame.
    Frame {
        /// By this call.
        key: SessionKey,
        /// Without address and control fields.
        frame: Vec<u8>,
    },
    /// Let packets pass.
    LinkUp {
        /// By this call.
        key: SessionKey,
        /// Between these ends.
        opened: Opened,
        /// What the client is told when it asks by DHCP.
        told: Told,
    },
    /// Let no more packets pass.
    LinkDown {
        /// By this call.
        key: SessionKey,
    },
    /// Take down the data path of a call.
    SessionDown {
        /// The call.
        key: SessionKey,
    },
    /// Take down the data path of a tunnel.
    TunnelDown {
        /// Our id of it.
        tunnel: u16,
    },
}

/// A call as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SessionReport {
    /// Our ids of tunnel and call: `12/34`.
    pub id: String,
    /// Id of the remote access.
    pub access: String,
    /// Who it is; `None` before that is proved.
    pub user: Option<String>,
    /// Its address in the tunnel, once it has one.
    pub address: Option<Ipv4Addr>,
    /// Where it comes from.
    pub client: String,
    /// What it calls itself.
    pub host: String,
    /// How it proved itself.
    pub authentication: Option<String>,
    /// Seconds since the call began.
    pub seconds: u64,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Links that came up.
    pub opened: u64,
    /// Calls that ended before that.
    pub failed: u64,
}

#[derive(Debug)]
struct Session {
    /// The access's address.
    local: Ipv4Addr,
    peer: Peer,
    host: String,
    since: Duration,
    link: Link,
    up: Option<Opened>,
    /// Who it was when it was up, for what is said once the link is down again.
    user: Option<String>,
}

/// All of remote access.
#[derive(Debug)]
pub struct Server {
    host: String,
    lns: Lns,
    accesses: BTreeMap<Ipv4Addr, Access>,
    tunnels: BTreeMap<u16, (Peer, String)>,
    sessions: BTreeMap<SessionKey, Session>,
    seeds: Random,
    counts: Counts,
    out: Vec<Action>,
}

impl Server {
    /// A server without accesses. `random` is asked twice for each call.
    pub fn new(settings: l2tp::Settings, random: Random, seeds: Random) -> Self {
        Self {
            host: settings.host.clone(),
            lns: Lns::new(settings, random),
            accesses: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            sessions: BTreeMap::new(),
            seeds,
            counts: Counts::default(),
            out: Vec::new(),
        }
    }

    /// What is to be done, taken out.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }

    /// Counts since the start.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Datagrams that were dropped.
    pub const fn dropped(&self) -> l2tp::Dropped {
        self.lns.dropped()
    }

    /// Tunnels that are set up or about to be.
    pub fn tunnels(&self) -> usize {
        self.lns.tunnels()
    }

    /// Puts `slice` in force. Calls that it does not allow end; others are not touched.
    pub fn replace(&mut self, now: Duration, slice: LnsSlice) {
        let mut before = std::mem::take(&mut self.accesses);
        for wanted in slice.accesses {
            let address = wanted.address;
            let former = before.remove(&address);
            let mut access = Access::new(wanted);
            if let Some(former) = former {
                self.judge(now, address, &former, &access);
                access.inherit(former);
            }
            self.accesses.insert(address, access);
        }
        for address in before.keys() {
            self.end_access(now, *address);
        }
        self.settle(now);
    }

    /// Ends the calls at `address` that `access` does not allow any more.
    fn judge(&mut self, now: Duration, address: Ipv4Addr, former: &Access, access: &Access) {
        for session in self.sessions.values_mut().filter(|session| session.local == address) {
            let Some(user) = session.link.user().map(str::to_owned) else { continue };
            let at = session.up.as_ref().map(|up| up.remote);
            if let Some(reason) = access.objection(&former.slice, &user, at) {
                session.link.close(now, reason);
            }
        }
    }

    fn end_access(&mut self, now: Duration, address: Ipv4Addr) {
        let tunnels = self.tunnels.iter().filter(|(_, (peer, _))| peer.local == address);
        let tunnels: Vec<u16> = tunnels.map(|(tunnel, _)| *tunnel).collect();
        for tunnel in tunnels {
            let text = "the remote access was removed";
            self.lns.stop(now, tunnel, StopReason::Administrative, text);
        }
    }

    /// Takes a datagram. Gives back an IP frame of a call, for callers that have no data path in the kernel.
    pub fn datagram<'a>(
        &mut self,
        now: Duration,
        peer: Peer,
        bytes: &'a [u8],
    ) -> Option<(SessionKey, &'a [u8])> {
        if !self.accesses.contains_key(&peer.local) {
            return None;
        }
        let data = self.lns.datagram(now, peer, bytes);
        self.settle(now);
        data
    }

    /// Takes a PPP frame of a call.
    pub fn frame(&mut self, now: Duration, key: SessionKey, frame: &[u8]) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if let Some(access) = self.accesses.get_mut(&session.local) {
            session.link.receive(now, frame, &mut Counter { access, key });
        }
        self.settle(now);
    }

    /// The data path of a call failed.
    pub fn failed(&mut self, now: Duration, key: SessionKey, text: &str) {
        self.lns.hang_up(now, key, StopReason::Busy, text);
        self.settle(now);
    }

    /// The data path of a tunnel failed.
    pub fn tunnel_failed(&mut self, now: Duration, tunnel: u16, text: &str) {
        self.lns.failed(now, tunnel, text);
        self.settle(now);
    }

    /// Ends everything: the server goes away.
    pub fn shut_down(&mut self, now: Duration) {
        self.lns.shut_down(now);
        self.settle(now);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        self.lns.tick(now);
        for session in self.sessions.values_mut() {
            if session.link.deadline().is_some_and(|at| at <= now) {
                session.link.tick(now);
            }
        }
        self.settle(now);
    }

    /// When to call [`Server::tick`] next.
    pub fn deadline(&self) -> Option<Duration> {
        let links = self.sessions.values().filter_map(|session| session.link.deadline());
        links.chain(self.lns.deadline()).min()
    }

    /// Takes over what the layers put out, until none has anything more.
    fn settle(&mut self, now: Duration) {
        loop {
            self.links(now);
            let actions = self.lns.actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.below(now, action);
            }
        }
    }

    /// What L2TP did.
    fn below(&mut self, now: Duration, action: l2tp::Action) {
        match action {
            l2tp::Action::Send { peer, bytes } => self.out.push(Action::Send { peer, bytes }),
            l2tp::Action::TunnelUp { tunnel, peer_tunnel, peer, host } => {
                tracing::info!(tunnel, %peer, host, "l2tp tunnel up");
                self.tunnels.insert(tunnel, (peer, host));
                self.out.push(Action::TunnelUp { tunnel, peer_tunnel, peer });
            }
            l2tp::Action::TunnelDown { tunnel, end } => {
                tracing::info!(tunnel, reason = %end, "l2tp tunnel down");
                self.tunnels.remove(&tunnel);
                self.out.push(Action::TunnelDown { tunnel });
            }
            l2tp::Action::SessionUp { key, peer_session, sequenced } => {
                self.out.push(Action::SessionUp { key, peer_session, sequenced });
                self.begin(now, key);
            }
            l2tp::Action::SessionDown { key, end } => self.forget(key, &end.to_string()),
        }
    }

    fn begin(&mut self, now: Duration, key: SessionKey) {
        let Some((peer, host)) = self.tunnels.get(&key.tunnel).cloned() else { return };
        let Some(access) = self.accesses.get(&peer.local) else { return };
        let link = Link::new(access.settings(&self.host), now, self.seeds.fork());
        let local = peer.local;
        self.sessions
            .insert(key, Session { local, peer, host, since: now, link, up: None, user: None });
    }

    /// A call is over: everything that it had is free again.
    fn forget(&mut self, key: SessionKey, reason: &str) {
        if let Some(session) = self.sessions.remove(&key) {
            if session.up.is_some() {
                self.out.push(Action::LinkDown { key });
            }
            self.counts.failed += u64::from(session.user.is_none());
            if let Some(access) = self.accesses.get_mut(&session.local) {
                access.release(key);
            }
            let user = session.user.as_deref().unwrap_or("nobody");
            tracing::info!(%key, user, reason, "vpn session down");
        }
        self.out.push(Action::SessionDown { key });
    }

    /// What the links did.
    fn links(&mut self, now: Duration) {
        let mut over = Vec::new();
        for (key, session) in &mut self.sessions {
            for output in session.link.outputs() {
                match output {
                    Output::Frame(frame) => self.out.push(Action::Frame { key: *key, frame }),
                    Output::Up(opened) => {
                        tracing::info!(
                            %key, user = opened.user, address = %opened.remote,
                            client = %session.peer, "vpn session up"
                        );
                        self.counts.opened += 1;
                        session.user = Some(opened.user.clone());
                        session.up = Some(opened.clone());
                        let told = told(self.accesses.get(&session.local), &opened);
                        self.out.push(Action::LinkUp { key: *key, opened, told });
                    }
                    Output::Down => {
                        session.up = None;
                        self.out.push(Action::LinkDown { key: *key });
                    }
                    Output::Finished(reason) => over.push((*key, reason)),
                }
            }
        }
        for (key, reason) in over {
            self.lns.hang_up(now, key, StopReason::Lost, &reason);
        }
    }

    /// Every call, by key.
    pub fn report(&self, now: Duration) -> impl Iterator<Item = (SessionKey, SessionReport)> {
        self.sessions.iter().map(move |(key, session)| {
            let id = self.accesses.get(&session.local).map(|access| access.slice.id.to_string());
            let report = SessionReport {
                id: key.to_string(),
                access: id.unwrap_or_default(),
                user: session.link.user().map(str::to_owned),
                address: session.up.as_ref().map(|up| up.remote),
                client: session.peer.remote.to_string(),
                host: session.host.clone(),
                authentication: session.up.as_ref().map(|up| up.method.to_string()),
                seconds: now.saturating_sub(session.since).as_secs(),
            };
            (*key, report)
        })
    }
}

fn told(access: Option<&Access>, opened: &Opened) -> Told {
    let slice = access.map(|access| &access.slice);
    Told {
        server: opened.local,
        client: opened.remote,
        routes: slice.map(|slice| slice.routes.clone()).unwrap_or_default(),
        dns: slice.map(|slice| slice.dns.clone()).unwrap_or_default(),
    }
}
