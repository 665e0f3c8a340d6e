//! Connections to members that wait for their next request, by thread.
//!
//! Guarantees: bounded per member; what waits too long, or whose member left the configuration, is closed. A connection
//! that told its member who the client is serves no other client.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use super::upstream::Upstream;
use crate::lb::clock;

/// Waiting connections per member and thread.
const MOST: usize = 64;
/// Common servers close after 5 seconds and more; whoever is closed at the same moment must ask again, so be first.
const KEPT: u64 = 4000;

/// Which requests a connection may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The member.
    pub(crate) member: u64,
    /// Where it serves.
    pub(crate) endpoint: SocketAddr,
    /// The client that it was announced to be for.
    pub(crate) client: Option<SocketAddr>,
}

impl Hash for Key {
    /// Less than all that makes two equal, as it is done twice for each request.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.member);
        if let Some(client) = self.client {
            state.write_u16(client.port());
        }
    }
}

struct Idle {
    upstream: Box<Upstream>,
    since: u64,
}

thread_local! {
    static IDLE: RefCell<HashMap<Key, Vec<Idle>>> = RefCell::new(HashMap::new());
}

/// A connection that waits for `key`'s next request, and has waited for at most `youngest` milliseconds at `now`.
pub(super) fn take(key: &Key, youngest: u64, now: u64) -> Option<Box<Upstream>> {
    IDLE.with_borrow_mut(|idle| {
        let waiting = idle.get_mut(key)?;
        // the one used last is the one least likely to be closed
        while let Some(last) = waiting.pop() {
            if now.saturating_sub(last.since) > youngest {
                waiting.push(last);
                return None;
            }
            let mut upstream = last.upstream;
            if upstream.is_ready() {
                return Some(upstream);
            }
        }
        None
    })
}

/// `upstream` has carried its request; it waits for the next, if it can carry one.
pub(super) fn give_back(mut upstream: Box<Upstream>) {
    if upstream.member.gone() || !upstream.is_ready() {
        return;
    }
    let key = upstream.key;
    IDLE.with_borrow_mut(|idle| {
        let waiting = idle.entry(key).or_default();
        if waiting.len() < MOST {
            waiting.push(Idle { upstream, since: clock::now() });
        }
    });
}

/// Closes what waited long enough, what the member closed, and what belongs to members that are gone.
pub(crate) fn sweep() {
    let now = clock::now();
    IDLE.with_borrow_mut(|idle| {
        idle.retain(|_, waiting| {
            waiting.retain_mut(|it| {
                let fresh = now.saturating_sub(it.since) < KEPT && !it.upstream.member.gone();
                fresh && it.upstream.is_ready()
            });
            !waiting.is_empty()
        });
    });
}
