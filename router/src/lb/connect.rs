//! A connection to a member for one client: chosen, made, announced.
//!
//! Guarantees: a member that cannot be reached costs the client nothing but time while another can serve; no member is
//! tried twice for the same client, and nobody waits when none is left.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::clock;
use super::counters::add;
use super::live::{LiveMember, Policy, Rule, Seat};
use super::proxy_header;

/// Members tried for one client: the first and three more, as HAProxy's retries.
const TRIES: usize = 4;

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The client.
    pub(super) client: SocketAddr,
    /// The balanced address.
    pub(super) server: SocketAddr,
}

/// Who has been tried for a client.
#[derive(Debug, Default)]
pub(crate) struct Tried(Vec<u64>);

impl Tried {
    /// The serials.
    pub(crate) fn serials(&self) -> &[u64] {
        &self.0
    }

    /// Whether another may be tried.
    pub(crate) fn may_go_on(&self) -> bool {
        self.0.len() < TRIES
    }

    /// `member` did not serve; counted as one more try if there will be one.
    pub(crate) fn failed(&mut self, rule: &Rule, member: &LiveMember) {
        self.0.push(member.state.serial);
        add(&rule.counters.retries, 1);
        add(&member.state.counters.retries, 1);
    }
}

/// A connection to one of the members: `bound` if the client is bound to one, else whom the algorithm chooses.
///
/// `None` when no member can serve.
pub(crate) async fn connect(
    rule: &Rule,
    policy: &Policy,
    ends: Ends,
    mut bound: Option<Arc<LiveMember>>,
) -> Option<(TcpStream, Seat)> {
    let mut tried = Tried::default();
    let former = bound.clone();
    while tried.may_go_on() {
        let chosen = || rule.choose(policy, ends.client.ip(), tried.serials());
        let member = bound.take().or_else(chosen)?;
        let seat = Seat::take(&member, clock::now());
        if let Ok(stream) = open(rule, policy, &member, ends).await {
            if let Some(former) = &former {
                redispatched(rule, former, &member);
            }
            return Some((stream, seat));
        }
        tried.failed(rule, &member);
    }
    None
}

/// `member` serves a client who was bound to `former`: counted where the client is taken away, as HAProxy's `wredis`.
pub(crate) fn redispatched(rule: &Rule, former: &LiveMember, member: &LiveMember) {
    if former.state.serial != member.state.serial {
        add(&rule.counters.redispatches, 1);
        add(&former.state.counters.redispatches, 1);
    }
}

/// A connection to `member`, with the header that announces the client if the rule asks for it.
pub(crate) async fn open(
    rule: &Rule,
    policy: &Policy,
    member: &LiveMember,
    ends: Ends,
) -> io::Result<TcpStream> {
    let limit = Duration::from_secs(u64::from(policy.spec.timeouts.connect_seconds.get()));
    let began = clock::now();
    let opened = match timeout(limit, announced(policy, member, ends)).await {
        Ok(opened) => opened,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    if opened.is_ok() {
        let took = clock::now().saturating_sub(began);
        rule.counters.connect_time.add(took);
        member.state.counters.connect_time.add(took);
        add(&member.state.counters.connects, 1);
        add(&rule.counters.connects, 1);
    } else {
        add(&rule.counters.connect_errors, 1);
        add(&member.state.counters.connect_errors, 1);
        member.state.health.suspect();
    }
    opened
}

async fn announced(policy: &Policy, member: &LiveMember, ends: Ends) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(member.state.endpoint).await?;
    stream.set_nodelay(true)?;
    if let Some(version) = policy.spec.proxy_protocol {
        stream.write_all(&proxy_header::encode(version, ends.client, ends.server)).await?;
    }
    Ok(stream)
}
