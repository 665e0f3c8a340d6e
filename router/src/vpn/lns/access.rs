//! One remote access: its users, its addresses and who has them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use sluice_api::config::vpn::Authentication;

use super::slice::{AccessSlice, UserSlice};
use crate::vpn::l2tp::SessionKey;
use crate::vpn::ppp::{Desk, Method, Settings};

/// Longest packet for clients, in bytes: what fits into 1500 with ESP (AES-CBC, SHA-256), UDP of NAT traversal, L2TP and PPP
/// around it, rounded down.
pub(super) const MTU: u16 = 1400;
/// Users whose last address is remembered.
const REMEMBERED: usize = 4096;

/// A remote access.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) slice: AccessSlice,
    leases: BTreeMap<Ipv4Addr, SessionKey>,
    /// The address that each user had last, which it gets again when it is free.
    last: BTreeMap<String, Ipv4Addr>,
}

impl Access {
    pub(super) fn new(slice: AccessSlice) -> Self {
        Self { slice, leases: BTreeMap::new(), last: BTreeMap::new() }
    }

    /// Takes over who had what.
    pub(super) fn inherit(&mut self, former: Self) {
        self.leases = former.leases;
        self.last = former.last;
    }

    /// What new links are made with.
    pub(super) fn settings(&self, host: &str) -> Settings {
        let slice = &self.slice;
        let local = slice.range.server();
        let method = |way: &Authentication| match way {
            Authentication::MsChapV2 => Method::MsChapV2,
            Authentication::Chap => Method::ChapMd5,
            Authentication::Pap => Method::Pap,
        };
        Settings {
            name: host.to_owned(),
            local,
            dns: if slice.dns.is_empty() { vec![local] } else { slice.dns.clone() },
            mtu: MTU,
            methods: slice.authentication.iter().map(method).collect(),
        }
    }

    /// Gives back what a call had.
    pub(super) fn release(&mut self, key: SessionKey) {
        self.leases.retain(|_, holder| *holder != key);
    }

    /// Why a call of `user` at `address` may no longer be; `None` when it may. `before` is the slice it came in by.
    pub(super) fn objection(
        &self,
        before: &AccessSlice,
        user: &str,
        address: Option<Ipv4Addr>,
    ) -> Option<&'static str> {
        let Some(now) = self.slice.user(user) else {
            return Some("the user was removed");
        };
        let then = before.user(user);
        if then.is_some_and(|then| then.password != now.password) {
            return Some("the user's password was changed");
        }
        if then.is_some_and(|then| then.disconnects != now.disconnects) {
            return Some("an administrator ended it");
        }
        let range = self.slice.range;
        let fits = |address| range.contains(address) && address != range.server();
        (!address.is_none_or(fits)).then_some("the client range was changed")
    }
}

impl AccessSlice {
    fn user(&self, name: &str) -> Option<&UserSlice> {
        self.users.iter().find(|known| known.name.as_str() == name)
    }
}

/// An access as the link of one call sees it.
pub(super) struct Counter<'a> {
    pub(super) access: &'a mut Access,
    pub(super) key: SessionKey,
}

impl Desk for Counter<'_> {
    fn password(&self, user: &str) -> Option<&str> {
        self.access.slice.user(user).map(|user| user.password.reveal())
    }

    fn lease(&mut self, user: &str) -> Option<Ipv4Addr> {
        let Access { slice, leases, last } = &mut *self.access;
        let free = |address: &Ipv4Addr| !leases.contains_key(address);
        let mut clients = slice.range.clients();
        let former = last.get(user).copied().filter(|former| clients.any(|one| one == *former));
        // one that nobody had lately, so that everyone keeps its own
        let unused = || {
            let known = |address: &Ipv4Addr| last.values().any(|former| former == address);
            slice.range.clients().find(|address| free(address) && !known(address))
        };
        let any = || slice.range.clients().find(free);
        let address = former.filter(free).or_else(unused).or_else(any)?;
        leases.insert(address, self.key);
        if last.len() >= REMEMBERED {
            last.clear();
        }
        last.insert(user.to_owned(), address);
        Some(address)
    }
}
