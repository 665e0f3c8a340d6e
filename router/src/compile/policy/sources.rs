//! Port forwards with a list of sources, of isolated networks and of VPCs alike.
//!
//! Guarantees: who is not on a forward's list is dropped before the firewall or any access control list is asked.

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::PortForward;
use sluice_sys::nft::{Expr, Ident, IpVersion, Net, Rule, RuleId, SetType, Verdict};

use super::traffic;
use super::words::{intervals, new, span_v4};
use crate::compile::skeleton::Slot;

pub(super) fn add(policy: &mut Fragment<Slot>, config: &RouterDocument) {
    let forwards = config.role.port_forwards.iter();
    for forward in forwards.filter(|forward| !forward.sources.is_empty()) {
        let Some(name) = set(forward) else { continue };
        let spans = forward.sources.iter().filter_map(span_v4);
        policy.set(name.clone(), intervals(SetType::Ipv4, spans));
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
