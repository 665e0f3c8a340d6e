//! A router's part: its networks, their guests and the policy between them.

use super::{Scope, balancer, guests, networks, public, vpc, vpn};
use crate::config::RouterConfig;

impl RouterConfig {
    pub(crate) fn check(&self, scope: &mut Scope<'_>) {
        networks::check(scope, self);
        guests::check(scope, self);
        public::check(scope, self);
        vpc::check(scope, self);
        balancer::check(scope, self);
        vpn::check(scope, self);
    }
}
