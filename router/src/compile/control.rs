//! The control network: the API is reachable by its link alone, from the configured managers alone, and no service sends
//! anything there: one that was taken over by whom it talks to reaches neither the manager nor other appliances.
//!
//! Not here: bare frames, which pass by these rules; the agent keeps them from the control NIC (`docs/services.md`).

use std::collections::BTreeSet;

use sluice_agent::fragment::Fragment;
use sluice_api::{AGENT_PORT, RouterDocument};
use sluice_sys::nft::{Expr, LinkSelector, Net};

use super::skeleton::Slot;
use super::words::{accept, discard, tcp_to};
use crate::appliance::USERS;

/// From each of the managers' networks, or from anywhere on the link when none is named.
pub(super) fn fragment(config: &RouterDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("control");
    let link = || Expr::Iif(LinkSelector::One(config.control.link.clone()));
    let api = || tcp_to(AGENT_PORT);
    if config.control.managers.is_empty() {
        fragment.rules(Slot::InputControl, [accept("input/api", [link(), api()])]);
    }
    let managers: BTreeSet<_> = config.control.managers.iter().collect();
    let each = managers
        .into_iter()
        .map(|network| accept("input/api", [link(), Expr::Source(Net::Cidr(*network)), api()]));
    fragment.rules(Slot::InputControl, each);
    let out = Expr::Oif(LinkSelector::One(config.control.link.clone()));
    let services = Expr::SocketUser(BTreeSet::from(USERS));
    fragment.rules(Slot::Output, [discard("output/services", [out, services])]);
    fragment
}
