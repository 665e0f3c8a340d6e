//! Addresses that are lent: who has which for how long, and what a client can be given.
//!
//! Guarantees: sans-I/O; an address is lent to one client at a time; memory is bounded by the size of the pools, whatever
//! clients send. What was lent and not given back is remembered after its time, so that a client gets the same address
//! again until somebody else needs it. A server that remembers nothing (a router that was rebuilt) confirms what its clients
//! hold: an address that nobody else is known to have is its claimant's, once its link was asked about it.
//!
//! Which address a new client gets follows from its MAC: two routers that know nothing of each other, or one before and after
//! a rebuild, give the same client the same address as far as they can.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_api::types::{LeaseSeconds, LinkName, MacAddr};

use super::pools::{Pools, PoolsId, RangeId};

#[cfg(test)]
mod tests;

/// How long an offered address is kept for whom it was offered to. RFC 2131 3.1 has clients choose within seconds.
pub const OFFER_HOLD: Duration = Duration::from_secs(20);
/// How long an address is lent to nobody that a client found in use, or that somebody answered for.
pub const QUARANTINE: Duration = Duration::from_mins(10);

/// How a client stands to its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Only offered so far: whoever has a better claim gets it.
    Offered,
    /// It is the client's.
    Lent,
    /// Declined in the client's name, which a neighbour can forge: nobody else's until the loan's end, and the client's again
    /// when it says that it has it.
    Declined,
}

/// What one client has.
#[derive(Clone, Copy, Debug)]
struct Loan {
    address: Ipv4Addr,
    /// The end; the largest is "for ever".
    until: Duration,
    standing: Standing,
    /// The link was asked about the address since it went to this client, or the client spoke from it. Until then the client
    /// was told nothing, and is not told before.
    proved: bool,
    /// Which range the address is of; none until [`Lent::retain`] says, after loans were read.
    range: Option<RangeId>,
}

impl Loan {
    /// The client was told that the address is its own.
    fn is_told(&self) -> bool {
        self.standing == Standing::Lent && self.proved
    }

    /// The link was not asked yet: whoever speaks from the address has it.
    fn is_untold(&self) -> bool {
        self.standing == Standing::Lent && !self.proved
    }

    fn is_offer(&self) -> bool {
        self.standing == Standing::Offered
    }

    /// Its client found somebody else at the address, as far as is known.
    fn is_declined(&self, now: Duration) -> bool {
        self.standing == Standing::Declined && self.until > now
    }

    /// Nothing says that its client uses the address, so somebody else might.
    fn is_fresh(&self, now: Duration) -> bool {
        self.until <= now || !self.proved
    }
}

/// An address that is not lent for a while.
#[derive(Clone, Copy, Debug)]
struct Quarantine {
    until: Duration,
    /// Who was heard to use it, or declined it, and has it if it says so.
    user: MacAddr,
}

/// The loans of one link.
#[derive(Clone, Debug, Default)]
struct OfLink {
    by_mac: HashMap<MacAddr, Loan>,
    by_address: HashMap<Ipv4Addr, MacAddr>,
    /// Loans of each range by their end: who looks for one of a range comes upon none of the others.
    ends: HashMap<Option<RangeId>, BTreeSet<(Duration, Ipv4Addr)>>,
    quarantined: HashMap<Ipv4Addr, Quarantine>,
    /// When the first quarantine ends, or earlier.
    sweep_at: Duration,
    /// Times that an address became free.
    freed: u64,
    /// That number when these pools were searched in vain: until it grows, another search is of no use.
    searched: HashMap<PoolsId, u64>,
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
    range: Option<RangeId>,
}

impl Choice {
    /// `address`, if `pools` lend it.
    fn of(pools: &Pools, address: Ipv4Addr, is_fresh: bool) -> Option<Self> {
        let range = pools.range_of(address);
        range.is_some().then_some(Self { address, is_fresh, range })
    }
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
        let own = of_link.by_mac.get(&mac).filter(|loan| loan.address == choice.address);
        if own.is_none_or(|loan| loan.until <= now || loan.is_offer()) {
            let until = now.saturating_add(OFFER_HOLD);
            let Choice { address, is_fresh, range } = choice;
            let standing = Standing::Offered;
            of_link.put(mac, Loan { address, until, standing, proved: !is_fresh, range });
        }
        Some(choice)
    }

    /// Whether `mac` may have `address`, which it says it has or was offered, and `speaks` from or does not.
    pub(crate) fn claim(
        &self,
        now: Duration,
        link: &LinkName,
        pools: &Pools,
        mac: MacAddr,
        (address, speaks): (Ipv4Addr, bool),
    ) -> Option<Choice> {
        let Some(of_link) = self.links.get(link) else {
            return Choice::of(pools, address, true);
        };
        let own = of_link.by_mac.get(&mac).filter(|loan| loan.address == address);
        let open = of_link.is_open(now, mac, address)
            || speaks && of_link.loan_of(address).is_some_and(Loan::is_untold);
        let choice = Choice::of(pools, address, own.is_none_or(|loan| loan.is_fresh(now)));
        choice.filter(|_| open)
    }

    /// `mac` has the address of `choice` for `lease` from `now` on; it is told so at once if that is `proved`, else once
    /// [`prove`](Self::prove) says so.
    pub(crate) fn lend(
        &mut self,
        now: Duration,
        link: &LinkName,
        mac: MacAddr,
        Choice { address, range, .. }: Choice,
        lease: LeaseSeconds,
        proved: bool,
    ) {
        let until = match lease {
            LeaseSeconds::MAX => Duration::MAX,
            lease => now.saturating_add(Duration::from_secs(lease.get().into())),
        };
        self.of(link).put(mac, Loan { address, until, standing: Standing::Lent, proved, range });
        if proved {
            self.changes.push(Change { link: link.clone(), mac, address, until });
        }
    }

    /// The link was asked about `address`, and nobody but `mac` answered: whether it is still that one's, so that it may be told.
    pub(crate) fn prove(&mut self, link: &LinkName, mac: MacAddr, address: Ipv4Addr) -> bool {
        let of_link = self.links.get_mut(link);
        let own = of_link.and_then(|it| it.by_mac.get_mut(&mac)).filter(|it| it.address == address);
        let Some(loan) = own.filter(|loan| loan.standing != Standing::Declined) else {
            return false;
        };
        let news = !loan.proved && loan.standing == Standing::Lent;
        loan.proved = true;
        let until = loan.until;
        if news {
            self.changes.push(Change { link: link.clone(), mac, address, until });
        }
        true
    }

    /// What `mac` has or had.
    pub(crate) fn held(&self, link: &LinkName, mac: MacAddr) -> Option<Choice> {
        let loan = self.links.get(link)?.by_mac.get(&mac)?;
        Some(Choice { address: loan.address, is_fresh: false, range: loan.range })
    }

    /// `mac` gave its address back; it is remembered for it.
    pub(crate) fn release(&mut self, now: Duration, link: &LinkName, mac: MacAddr) {
        let of_link = self.of(link);
        let Some(loan) = of_link.by_mac.get(&mac).copied() else { return };
        of_link.put(mac, Loan { until: now, standing: Standing::Lent, ..loan });
        self.given_back(link, mac, loan.address);
    }

    /// `mac`, or somebody in its name, found its address in use by another: it is offered another one, and the address is
    /// lent to nobody else. If it says that it has the address after all, it goes on with it.
    pub(crate) fn decline(&mut self, now: Duration, link: &LinkName, mac: MacAddr) {
        let of_link = self.of(link);
        let Some(loan) = of_link.by_mac.get(&mac).copied() else { return };
        let (until, standing) = (now.saturating_add(QUARANTINE), Standing::Declined);
        of_link.put(mac, Loan { until, standing, proved: false, ..loan });
        self.given_back(link, mac, loan.address);
    }

    fn given_back(&mut self, link: &LinkName, mac: MacAddr, address: Ipv4Addr) {
        let (link, until) = (link.clone(), Duration::ZERO);
        self.changes.push(Change { link, mac, address, until });
    }

    /// `address` is in use by `user` without our leave.
    pub(crate) fn quarantine(
        &mut self,
        now: Duration,
        link: &LinkName,
        address: Ipv4Addr,
        user: MacAddr,
    ) {
        let of_link = self.of(link);
        let owner = of_link.by_address.get(&address).copied().filter(|mac| user != *mac);
        if let Some(mac) = owner {
            of_link.drop_loan(mac);
        }
        let until = now.saturating_add(QUARANTINE);
        of_link.keep_back(address, Quarantine { until, user });
        if let Some(mac) = owner {
            self.given_back(link, mac, address);
        }
    }

    /// Loans that have not run out.
    pub(crate) fn active(&self, now: Duration) -> usize {
        self.loans().filter(|(_, _, loan)| loan.is_told() && loan.until > now).count()
    }

    /// Loans that are not over at `now`, for a report or to be written down.
    pub(crate) fn all(&self, now: Duration) -> impl Iterator<Item = Change> {
        let kept =
            move |(_, _, loan): &(&LinkName, &MacAddr, &Loan)| loan.is_told() && loan.until > now;
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

    /// Takes over loans that were written down; one that is over is remembered for its client. [`retain`](Self::retain) is to
    /// follow.
    pub(crate) fn restore(&mut self, loans: impl IntoIterator<Item = Change>) {
        for Change { link, mac, address, until } in loans {
            // it was told to its client, and so asked about before
            let (standing, proved) = (Standing::Lent, true);
            self.of(&link).put(mac, Loan { address, until, standing, proved, range: None });
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
            of_link.sort_into(pools);
            // the pools may be others
            of_link.searched.clear();
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
        &mut self,
        now: Duration,
        pools: &Pools,
        mac: MacAddr,
        wish: Option<Ipv4Addr>,
    ) -> Option<Choice> {
        if let Some(own) = self.by_mac.get(&mac)
            && !own.is_declined(now)
            && self.is_open(now, mac, own.address)
            && let Some(choice) =
                Choice::of(pools, own.address, own.is_offer() || own.is_fresh(now))
        {
            return Some(choice);
        }
        let declined = self.by_mac.get(&mac).filter(|own| own.is_declined(now));
        let declined = declined.map(|own| own.address);
        let wish = wish.filter(|wish| {
            Some(*wish) != declined && pools.lends(*wish) && self.is_open(now, mac, *wish)
        });
        let address =
            wish.or_else(|| self.free(now, pools, mac)).or_else(|| self.oldest(now, pools))?;
        Choice::of(pools, address, true)
    }

    /// Nobody else has it, and it is not in quarantine.
    fn is_open(&self, now: Duration, mac: MacAddr, address: Ipv4Addr) -> bool {
        let quarantined = self.quarantined.get(&address);
        if quarantined.is_some_and(|it| it.until > now && it.user != mac) {
            return false;
        }
        let is_own = self.by_address.get(&address) == Some(&mac);
        let loan = self.loan_of(address).filter(|_| !is_own);
        loan.is_none_or(|loan| loan.is_offer() || loan.until <= now)
    }

    fn loan_of(&self, address: Ipv4Addr) -> Option<&Loan> {
        self.by_mac.get(self.by_address.get(&address)?)
    }

    /// An address that nobody is remembered to have had, beginning where the MAC says. Full pools are searched once: whoever
    /// asks again and again must not cost a search each time.
    fn free(&mut self, now: Duration, pools: &Pools, mac: MacAddr) -> Option<Ipv4Addr> {
        if self.searched.get(&pools.id()) == Some(&self.freed) {
            return None;
        }
        let found = pools.beginning_at(mac).find(|address| {
            !self.by_address.contains_key(address)
                && self.quarantined.get(address).is_none_or(|it| it.until <= now)
        });
        if found.is_none() {
            self.searched.insert(pools.id(), self.freed);
        }
        found
    }

    /// The address whose time has been over for longest; failing that, one that was only offered.
    fn oldest(&self, now: Duration, pools: &Pools) -> Option<Ipv4Addr> {
        let of_each = pools.ranges().filter_map(|range| {
            self.replaceable(now, range).find(|(_, address)| {
                let quarantined = self.quarantined.get(address).is_some_and(|it| it.until > now);
                pools.lends(*address) && !quarantined
            })
        });
        of_each.min().map(|(_, address)| address)
    }

    /// Addresses of one range, with their ends, whose time is over or that were only offered; what ends first comes first.
    fn replaceable(
        &self,
        now: Duration,
        range: RangeId,
    ) -> impl Iterator<Item = (Duration, Ipv4Addr)> {
        let held = now.saturating_add(OFFER_HOLD);
        let ends = self.ends.get(&Some(range)).into_iter().flatten().copied();
        let soon = ends.take_while(move |(until, _)| *until <= held);
        let is_offered = |address| self.loan_of(address).is_some_and(Loan::is_offer);
        soon.filter(move |(until, address)| *until <= now || is_offered(*address))
    }

    /// Loans are of the ranges that `pools` have now.
    fn sort_into(&mut self, pools: &Pools) {
        self.ends.clear();
        for loan in self.by_mac.values_mut() {
            loan.range = pools.range_of(loan.address);
            self.ends.entry(loan.range).or_default().insert((loan.until, loan.address));
        }
    }

    /// Ends the quarantines that are over: what is in none counts as free, and nothing is searched before one is over.
    fn sweep(&mut self, now: Duration) {
        if now < self.sweep_at {
            return;
        }
        self.quarantined.retain(|_, it| it.until > now);
        self.freed += 1;
        let ends = self.quarantined.values().map(|it| it.until);
        self.sweep_at = ends.min().unwrap_or(Duration::MAX);
    }

    /// Gives `mac` this loan, in place of what it had and of whoever had the address.
    fn put(&mut self, mac: MacAddr, loan: Loan) {
        if let Some(former) = self.remove(mac).filter(|former| former.address != loan.address) {
            self.left(mac, former);
        }
        if let Some(other) = self.by_address.get(&loan.address).copied() {
            self.remove(other);
        }
        // it is open to nobody else now
        self.quarantined.remove(&loan.address);
        self.by_mac.insert(mac, loan);
        self.by_address.insert(loan.address, mac);
        self.ends.entry(loan.range).or_default().insert((loan.until, loan.address));
    }

    fn drop_loan(&mut self, mac: MacAddr) {
        if let Some(loan) = self.remove(mac) {
            self.left(mac, loan);
        }
    }

    fn remove(&mut self, mac: MacAddr) -> Option<Loan> {
        let loan = self.by_mac.remove(&mac)?;
        self.by_address.remove(&loan.address);
        if let Some(ends) = self.ends.get_mut(&loan.range) {
            ends.remove(&(loan.until, loan.address));
        }
        Some(loan)
    }

    /// `mac` has `former` no more, and nobody else has it.
    fn left(&mut self, mac: MacAddr, former: Loan) {
        if former.standing == Standing::Declined {
            self.keep_back(former.address, Quarantine { until: former.until, user: mac });
        } else {
            self.freed += 1;
        }
    }

    fn keep_back(&mut self, address: Ipv4Addr, quarantine: Quarantine) {
        self.quarantined.insert(address, quarantine);
        self.sweep_at = self.sweep_at.min(quarantine.until);
    }
}
