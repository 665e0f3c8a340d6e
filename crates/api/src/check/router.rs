//! A router's part: its networks, their guests and the policy between them.

use super::{Scope, balancer, dns, guests, lint, networks, public, uplinks, vpc, vpn};
use crate::config::RouterConfig;

impl RouterConfig {
    pub(crate) fn check(&self, scope: &mut Scope<'_>) {
        networks::check(scope, self);
        guests::check(scope, self);
        uplinks::check(scope, self);
        dns::check(scope, self);
        public::check(scope, self);
        vpc::check(scope, self);
        balancer::check(scope, self);
        vpn::check(scope, self);
        // what is refused is not remarked upon besides
        if !scope.is_refused() {
            lint::check(scope, self);
        }
    }
}
