//! Rules that end by themselves: a configuration as it is at some time.
//!
//! Guarantees: what has ended is as if it had never been there. The clock is the caller's.

use std::borrow::Cow;

use super::{ApplianceConfig, Part, ProxyConfig, RouterConfig, SsvmConfig};
use crate::types::UtcTime;

/// What of a role's part ends by itself. Default: nothing.
pub trait Ending {
    /// Every time at which something ends.
    fn ends(&self) -> Vec<UtcTime> {
        Vec::new()
    }

    /// Takes away what has ended at `now`.
    fn end(&mut self, _now: UtcTime) {}
}

impl Ending for ProxyConfig {}
impl Ending for SsvmConfig {}

impl Ending for RouterConfig {
    fn ends(&self) -> Vec<UtcTime> {
        let firewall = self.firewall.iter().filter_map(|rule| rule.until);
        let ipv6 = self.ipv6_firewall.iter().filter_map(|rule| rule.until);
        let egress = self.egress_rules.iter().filter_map(|rule| rule.until);
        let nat = self.static_nat.iter().filter_map(|rule| rule.until);
        let forwards = self.port_forwards.iter().filter_map(|rule| rule.until);
        let acls = self.vpc.iter().flat_map(|vpc| &vpc.acls);
        let acls = acls.flat_map(|acl| &acl.rules).filter_map(|rule| rule.until);
        firewall.chain(ipv6).chain(egress).chain(nat).chain(forwards).chain(acls).collect()
    }

    fn end(&mut self, now: UtcTime) {
        let goes_on = |until: Option<UtcTime>| until.is_none_or(|until| until > now);
        self.firewall.retain(|rule| goes_on(rule.until));
        self.ipv6_firewall.retain(|rule| goes_on(rule.until));
        self.egress_rules.retain(|rule| goes_on(rule.until));
        self.static_nat.retain(|rule| goes_on(rule.until));
        self.port_forwards.retain(|rule| goes_on(rule.until));
        for acl in self.vpc.iter_mut().flat_map(|vpc| &mut vpc.acls) {
            acl.rules.retain(|rule| goes_on(rule.until));
        }
    }
}

impl<P: Part> ApplianceConfig<P> {
    /// The configuration as it is at `now`: without the rules that have ended.
    pub fn at(&self, now: UtcTime) -> Cow<'_, Self> {
        if self.role.ends().iter().all(|end| *end > now) {
            return Cow::Borrowed(self);
        }
        let mut left = self.clone();
        left.role.end(now);
        Cow::Owned(left)
    }

    /// The next time after `now` at which a rule ends.
    pub fn next_end(&self, now: UtcTime) -> Option<UtcTime> {
        self.role.ends().into_iter().filter(|end| *end > now).min()
    }
}
