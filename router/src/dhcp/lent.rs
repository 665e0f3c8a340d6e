//! Addresses that are lent: who has which for how long, and what a client can be given.
//!
//! Guarantees: sans-I/O; an address is lent to one client at a time; memory is bounded by the size of the pools, whatever
//! clients send. What was lent and not given back is remembered after its time, so that a client gets the same address
//! again until somebody else needs it. A server that remembers nothing (a router that was rebuilt) confirms what its clients
//! hold: an address that nobody else is known to have is its claimant's.
//!
//! Which address a new client gets follows from its MAC: two routers that know nothing of each other, or one before and after
//! a rebuild, give the same client the same address as far as they can.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_api::types::{LeaseSeconds, LinkName, MacAddr};

use super::pools::Pools;

/// How long an offered address is kept for whom it was offered to. RFC 2131 3.1 has clients choose within seconds.
pub const OFFER_HOLD: Duration = Duration::from_secs(20);
/// How long an address is lent to nobody that a client found in use, or that somebody answered for.
pub const QUARANTINE: Duration = Duration::from_mins(10);

/// What one client has.
#[derive(Clone, Copy, Debug)]
struct Loan {
    address: Ipv4Addr,
    /// The end; the largest is "for ever".
    until: Duration,
    /// Only offered so far: whoever has a better claim gets it.
    is_offer: bool,
}

/// An address that is not lent for a while.
#[derive(Clone, Copy, Debug)]
struct Quarantine {
    until: Duration,
    /// Who was heard to use it, and may go on.
    user: Option<MacAddr>,
}

/// The loans of one link.
#[derive(Clone, Debug, Default)]
struct OfLink {
    by_mac: HashMap<MacAddr, Loan>,
    by_address: HashMap<Ipv4Addr, MacAddr>,
    /// Loans by their end.
    ends: BTreeSet<(Duration, Ipv4Addr)>,
    quarantined: HashMap<Ipv4Addr, Quarantine>,
    /// When the first quarantine ends, or earlier.
    sweep_at: Duration,
}

/// The loans of all links.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lent {
    links: HashMap<LinkName, OfLink>,
    changes: Vec<Change>,
}

/// A loan as it is written down, and read again after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The link.
    pub link: LinkName,
    /// The client.
    pub mac: MacAddr,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its end, by the clock that the server is given; the largest is "for ever", 0 means that it was given back.
    pub until: Duration,
}

/// An address for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) address: Ipv4Addr,
    /// Nothing says that the client uses it already: somebody else might.
    pub(crate) is_fresh: bool,
}

impl Lent {
    /// The address that `mac` is offered; `wish` is one that it asks for.
    pub(crate) fn offer(
        &mut self,
        now: Duration,
        link: &LinkName,
        pools: &Pools,
        mac: MacAddr,
        wish: Option<Ipv4Addr>,
    ) -> Option<Choice> {
        let of_link = self.of(link);
        of_link.sweep(now);
        let choice = of_link.choose(now, pools, mac, wish)?;
        let kept = of_link.by_mac.get(&mac).filter(|loan| loan.until > now && !loan.is_offer);
        if kept.is_none() {
            let until = now.saturating_add(OFFER_HOLD);
            of_link.put(mac, Loan { address: choice.address, until, is_offer: true });
        }
        Some(choice)
    }

    /// Whether `mac` may have `address`, which it says it has or was offered.
    pub(crate) fn claim(
        &self,
        now: Duration,
        link: &LinkName,
        pools: &Pools,
        mac: MacAddr,
        address: Ipv4Addr,
    ) -> Option<Choice> {
        let Some(of_link) = self.links.get(link) else {
            return pools.lends(address).then_some(Choice { address, is_fresh: true });
        };
        let own = of_link.by_mac.get(&mac).is_some_and(|loan| loan.address == address);
        let can = pools.lends(address) && of_link.is_open(now, mac, address);
        can.then_some(Choice { address, is_fresh: !own })
    }

    /// `mac` has `address` for `lease` from `now` on.
    pub(crate) fn lend(
        &mut self,
        now: Duration,
        link: &LinkName,
        mac: MacAddr,
        address: Ipv4Addr,
        lease: LeaseSeconds,
    ) {
        let until = match lease {
            LeaseSeconds::MAX => Duration::MAX,
            lease => now.saturating_add(Duration::from_secs(lease.get().into())),
        };
        self.of(link).put(mac, Loan { address, until, is_offer: false });
        self.changes.push(Change { link: link.clone(), mac, address, until });
    }

    /// What `mac` has or had.
    pub(crate) fn address(&self, link: &LinkName, mac: MacAddr) -> Option<Ipv4Addr> {
        Some(self.links.get(link)?.by_mac.get(&mac)?.address)
    }

    /// `mac` gave its address back; it is remembered for it.
    pub(crate) fn release(&mut self, now: Duration, link: &LinkName, mac: MacAddr) {
        let of_link = self.of(link);
        let Some(loan) = of_link.by_mac.get(&mac).copied() else { return };
        of_link.put(mac, Loan { until: now, is_offer: false, ..loan });
        let address = loan.address;
        self.changes.push(Change { link: link.clone(), mac, address, until: Duration::ZERO });
    }

    /// `address` is in use by `user`, or by somebody, without our leave.
    pub(crate) fn quarantine(
        &mut self,
        now: Duration,
        link: &LinkName,
        address: Ipv4Addr,
        user: Option<MacAddr>,
    ) {
        let of_link = self.of(link);
        let until = now.saturating_add(QUARANTINE);
        of_link.quarantined.insert(address, Quarantine { until, user });
        of_link.sweep_at = of_link.sweep_at.min(until);
        let owner = of_link.by_address.get(&address).copied().filter(|mac| user != Some(*mac));
        if let Some(mac) = owner {
            of_link.drop_loan(mac);
            let link = link.clone();
            self.changes.push(Change { link, mac, address, until: Duration::ZERO });
        }
    }

    /// Loans that have not run out.
    pub(crate) fn active(&self, now: Duration) -> usize {
        self.loans().filter(|(_, _, loan)| !loan.is_offer && loan.until > now).count()
    }

    /// Loans that are not over at `now`, for a report or to be written down.
    pub(crate) fn all(&self, now: Duration) -> impl Iterator<Item = Change> {
        let kept =
            move |(_, _, loan): &(&LinkName, &MacAddr, &Loan)| !loan.is_offer && loan.until > now;
        self.loans().filter(kept).map(|(link, mac, loan)| Change {
            link: link.clone(),
            mac: *mac,
            address: loan.address,
            until: loan.until,
        })
    }

    /// What changed since this was asked last, to be written down before anybody is told of it.
    pub(crate) fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Takes over loans that were written down; one that is over is remembered for its client.
    pub(crate) fn restore(&mut self, loans: impl IntoIterator<Item = Change>) {
        for Change { link, mac, address, until } in loans {
            self.of(&link).put(mac, Loan { address, until, is_offer: false });
        }
    }

    /// Forgets what is lent no more where `pools` says how it is now.
    pub(crate) fn retain<'p>(&mut self, pools: impl Fn(&LinkName) -> Option<&'p Pools>) {
        self.links.retain(|link, of_link| {
            let Some(pools) = pools(link) else { return false };
            let gone: Vec<_> = of_link
                .by_mac
                .iter()
                .filter(|(_, loan)| !pools.lends(loan.address))
                .map(|(mac, _)| *mac)
                .collect();
            for mac in gone {
                of_link.drop_loan(mac);
            }
            of_link.quarantined.retain(|address, _| pools.lends(*address));
            true
        });
    }

    fn of(&mut self, link: &LinkName) -> &mut OfLink {
        self.links.entry(link.clone()).or_default()
    }

    fn loans(&self) -> impl Iterator<Item = (&LinkName, &MacAddr, &Loan)> {
        let links = self.links.iter();
        links.flat_map(|(link, of)| of.by_mac.iter().map(move |(mac, loan)| (link, mac, loan)))
    }
}

impl OfLink {
    fn choose(
        &self,
        now: Duration,
        pools: &Pools,
        mac: MacAddr,
        wish: Option<Ipv4Addr>,
    ) -> Option<Choice> {
        if let Some(own) = self.by_mac.get(&mac)
            && pools.lends(own.address)
            && self.is_open(now, mac, own.address)
        {
            return Some(Choice {
                address: own.address,
                is_fresh: own.until <= now || own.is_offer,
            });
        }
        let wish = wish.filter(|wish| pools.lends(*wish) && self.is_open(now, mac, *wish));
        let address =
            wish.or_else(|| self.free(now, pools, mac)).or_else(|| self.oldest(now, pools))?;
        Some(Choice { address, is_fresh: true })
    }

    /// Nobody else has it, and it is not in quarantine.
    fn is_open(&self, now: Duration, mac: MacAddr, address: Ipv4Addr) -> bool {
        let quarantined = self.quarantined.get(&address);
        if quarantined.is_some_and(|it| it.until > now && it.user != Some(mac)) {
            return false;
        }
        let owner = self.by_address.get(&address).filter(|owner| **owner != mac);
        let loan = owner.and_then(|owner| self.by_mac.get(owner));
        loan.is_none_or(|loan| loan.is_offer || loan.until <= now)
    }

    /// An address that nobody is remembered to have had, beginning where the MAC says.
    fn free(&self, now: Duration, pools: &Pools, mac: MacAddr) -> Option<Ipv4Addr> {
        // full pools are known without a search: whoever asks again and again must not cost a search each time
        if pools.is_full(self.by_address.len() + self.quarantined.len()) {
            return None;
        }
        pools.beginning_at(mac).find(|address| {
            !self.by_address.contains_key(address)
                && self.quarantined.get(address).is_none_or(|it| it.until <= now)
        })
    }

    /// The address whose time has been over for longest; failing that, one that was only offered.
    fn oldest(&self, now: Duration, pools: &Pools) -> Option<Ipv4Addr> {
        let held = now.saturating_add(OFFER_HOLD);
        let soon = self.ends.iter().take_while(|(until, _)| *until <= held);
        soon.filter(|(until, address)| *until <= now || self.is_offered(*address))
            .map(|(_, address)| *address)
            .find(|address| {
                let quarantined = self.quarantined.get(address).is_some_and(|it| it.until > now);
                pools.lends(*address) && !quarantined
            })
    }

    fn is_offered(&self, address: Ipv4Addr) -> bool {
        let loan = self.by_address.get(&address).and_then(|owner| self.by_mac.get(owner));
        loan.is_some_and(|loan| loan.is_offer)
    }

    /// Ends the quarantines that are over: what is in none counts as free, and nothing is searched before one is over.
    fn sweep(&mut self, now: Duration) {
        if now < self.sweep_at {
            return;
        }
        self.quarantined.retain(|_, it| it.until > now);
        let ends = self.quarantined.values().map(|it| it.until);
        self.sweep_at = ends.min().unwrap_or(Duration::MAX);
    }

    /// Gives `mac` this loan, in place of what it had and of whoever had the address.
    fn put(&mut self, mac: MacAddr, loan: Loan) {
        self.drop_loan(mac);
        if let Some(other) = self.by_address.get(&loan.address).copied() {
            self.drop_loan(other);
        }
        // it is open to nobody else now, and must not count twice
        self.quarantined.remove(&loan.address);
        self.by_mac.insert(mac, loan);
        self.by_address.insert(loan.address, mac);
        self.ends.insert((loan.until, loan.address));
    }

    fn drop_loan(&mut self, mac: MacAddr) {
        if let Some(loan) = self.by_mac.remove(&mac) {
            self.by_address.remove(&loan.address);
            self.ends.remove(&(loan.until, loan.address));
        }
    }
}
