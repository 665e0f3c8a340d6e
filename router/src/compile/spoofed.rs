//! Inside addresses are at guest links alone: who sends from one by a public or a private link is a liar.
//!
//! Guarantees: what comes by such a link from an address of a guest network is dropped and counted, whether it is for a guest or
//! for this machine, before a firewall rule or a list is asked; so rules that name inside networks as sources can believe it
//! (RFC 2827, RFC 3704 2.1).
//! Not here: what guests send from addresses that are not theirs, of IPv4 by the kernel's reverse path (`sysctls`), of IPv6 by
//! `policy::ipv6`; clients of remote access, who are at links of their own (`vpn`).

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::LinkRole;
use sluice_api::types::Cidr;
use sluice_sys::nft::{Expr, Ident, IpVersion, LinkSelector, Net, Rule, Set, SetType};

use super::skeleton::Slot;
use super::words::{discard, intervals, span_v4, span_v6};

pub(super) fn fragment(config: &RouterDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("spoofed");
    let outer = config.links.iter();
    let outer = outer.filter(|link| matches!(link.role, LinkRole::Public | LinkRole::Private));
    let outer = outer.map(|link| [link.name.clone().into()].into());
    fragment.set(outer_links(), Set::of([SetType::Link]).with(outer));
    let networks = config.role.networks.iter().flat_map(|network| {
        let ipv6 = network.ipv6.as_ref().map(|ipv6| ipv6.cidr);
        network.spans().map(|(cidr, _)| cidr).chain(ipv6)
    });
    let all: Vec<Cidr> = networks.collect();
    fragment.set(inside(), intervals(SetType::Ipv4, all.iter().filter_map(span_v4)));
    let mut versions = vec![(IpVersion::V4, inside())];
    let six: Vec<_> = all.iter().filter_map(span_v6).collect();
    if !six.is_empty() {
        fragment.set(inside_v6(), intervals(SetType::Ipv6, six));
        versions.push((IpVersion::V6, inside_v6()));
    }
    for (version, inside) in versions {
        let lies = |id| -> Rule {
            let from = Expr::Source(Net::Set(version, inside.clone()));
            discard(id, [Expr::Iif(LinkSelector::Set(outer_links())), from])
        };
        fragment.rules(Slot::InputFirst, [lies("input/spoofed")]);
        fragment.rules(Slot::ForwardFirst, [lies("forward/spoofed")]);
    }
    fragment
}

fn outer_links() -> Ident {
    Ident::fixed("outer-links")
}

fn inside() -> Ident {
    Ident::fixed("inside")
}

fn inside_v6() -> Ident {
    Ident::fixed("inside-v6")
}
