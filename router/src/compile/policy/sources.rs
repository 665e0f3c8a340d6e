//! Port forwards with a list of sources, of isolated networks and of VPCs alike.
//!
//! Guarantees: who is not on a forward's list is dropped before the firewall or any access control list is asked.

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::PortForward;
use sluice_sys::nft::{Element, Expr, Ident, IpVersion, Net, Rule, RuleId, Set, SetType, Verdict};

use super::traffic;
use super::words::new;
use crate::compile::skeleton::Slot;

pub(super) fn add(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    let forwards = config.role.port_forwards.iter();
    for forward in forwards.filter(|forward| !forward.sources.is_empty()) {
        let Some(name) = set(forward) else { continue };
        let spans = forward.sources.iter().filter_map(super::span_v4);
        let elements =
            sluice_sys::nft::merged(spans).into_iter().map(|span| Element::from([span.into()]));
        policy.set(name.clone(), Set::of([SetType::Ipv4]).interval().with(elements));
        let matches = [
            new(),
            Expr::OriginalDestination(Net::Host(forward.public.into())),
            Expr::OriginalDestinationPort(
                traffic::l4(forward.protocol),
                traffic::ports(forward.ports),
            ),
            Expr::Source(Net::NotSet(IpVersion::V4, name)),
        ];
        let id = RuleId::of("forward-sources", &forward.id);
        policy.rules(Slot::ForwardPolicy, [Rule::verdict(id, matches, Verdict::Drop)]);
    }
}

fn set(forward: &PortForward) -> Option<Ident> {
    super::short("from", forward.id.as_str())
}
