//! Several ways out: answers leave by the uplink that the connection came in by, and guests by the one that has the address
//! they leave with.
//!
//! Guarantees: an uplink is a mark and a routing table. A connection that comes in by an uplink bears its mark, and its
//! answers are looked up in its table, whoever gives them: a guest or this machine. A connection of a guest whose source NAT
//! or static NAT address is of an uplink bears that one's mark for as long as it lives, whatever other connections of the
//! guest do later. Each table has every other route of the main one too, so that tiers, private networks and tunnels are
//! reached from everywhere, but not the networks of other uplinks. Where uplinks are watched, what this machine sends with an
//! address of an uplink is looked up in its table. A router without a list of uplinks has none of this.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sluice_agent::fragment::Fragment;
use sluice_api::RouterDocument;
use sluice_api::config::{LinkRole, Uplink};
use sluice_api::types::{Cidr, LinkName};
use sluice_sys::model::{
    MAIN_TABLE, PolicyEntry, RULE_PRIORITIES, RouteEntry, UPLINK_MARKS, UPLINK_TABLES,
};
use sluice_sys::nft::{
    Direction, Element, ElementValue, Entry, Expr, Ident, Key, LinkSelector, MarkPlace, MarkValue,
    Rule, RuleId, Set, SetType,
};

use super::networks::guest_links;
use super::skeleton::Slot;
use super::words::new;

/// After the rules of a configuration, which may have 0 to 999, as far as those leave room.
const FIRST_RULE: u32 = 900;
/// Before those.
const CLIENTS: u32 = 899;
/// Marks and tables of uplinks; the check lets no more in.
const PLACES: u16 = 64;
/// After those of the marks.
const OWN_ADDRESSES: u32 = 990;
/// What the kernel makes of an IPv6 route without a metric (`IP6_RT_PRIO_USER`).
const IPV6_METRIC: u32 = 1024;

/// An uplink with its numbers.
struct Numbered<'a> {
    uplink: &'a Uplink,
    mark: u16,
    table: u32,
}

impl Numbered<'_> {
    /// One for each version of IP that leaves by it.
    fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let ipv6 = self.uplink.gateway_ipv6.map(IpAddr::V6);
        std::iter::once(IpAddr::V4(self.uplink.gateway)).chain(ipv6)
    }
}

/// Uplinks with the number that ends their link's name, so that a connection's mark means the same when another uplink comes
/// or goes; where that is taken, or there is none below 64, the first that is free.
fn numbered(uplinks: &[Uplink]) -> Vec<Numbered<'_>> {
    let mut places: Vec<Option<u16>> = Vec::with_capacity(uplinks.len());
    for up in uplinks {
        let own = ending(&up.link).filter(|own| !places.contains(&Some(*own)));
        places.push(own);
    }
    let taken: BTreeSet<u16> = places.iter().flatten().copied().collect();
    let mut free = (0..PLACES).filter(|place| !taken.contains(place));
    let each = uplinks.iter().zip(places);
    each.filter_map(|(uplink, own)| {
        let place = own.or_else(|| free.next())?;
        let mark = UPLINK_MARKS.start() + place;
        Some(Numbered { uplink, mark, table: UPLINK_TABLES.start() + u32::from(place) })
    })
    .collect()
}

/// The number at the end of a link's name.
fn ending(link: &LinkName) -> Option<u16> {
    let name = link.as_str();
    let stem = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
    name.get(stem.len()..)?.parse().ok().filter(|number| *number < PLACES)
}

/// Metric of a route that states none.
fn metric(destination: Cidr) -> u32 {
    if destination.is_ipv4() { 0 } else { IPV6_METRIC }
}

pub(super) fn fragment(config: &RouterDocument) -> Fragment<Slot> {
    let mut fragment = Fragment::new("uplinks");
    let uplinks = numbered(&config.role.uplinks);
    if uplinks.is_empty() {
        return fragment;
    }
    for up in &uplinks {
        let order = FIRST_RULE + u32::from(up.mark - UPLINK_MARKS.start());
        for gateway in up.gateways() {
            fragment.routes.extend(routes(config, up, gateway));
            fragment.policy_rules.insert(PolicyEntry {
                priority: RULE_PRIORITIES.start() + order,
                ipv4: gateway.is_ipv4(),
                source: None,
                destination: None,
                link: None,
                mark: Some(up.mark),
                table: up.table,
            });
        }
    }
    // clients of remote access come and go, each on a link of its own: the main table alone leads there
    let ranges = config.role.vpn.remote_access.iter().flat_map(|access| access.range.networks());
    fragment.policy_rules.extend(ranges.map(|range| PolicyEntry {
        priority: RULE_PRIORITIES.start() + CLIENTS,
        ipv4: true,
        source: None,
        destination: Some(range),
        link: None,
        mark: None,
        table: MAIN_TABLE,
    }));
    if uplinks.iter().any(|up| up.uplink.probe.is_some()) {
        for up in &uplinks {
            fragment.policy_rules.extend(own_addresses(config, up));
        }
    }
    marks(&mut fragment, config, &uplinks);
    fragment
}

/// Probes and whatever else this machine sends with an address of the uplink, after the rules that know marks: an answer goes
/// where its connection came in by.
fn own_addresses(config: &RouterDocument, up: &Numbered<'_>) -> impl Iterator<Item = PolicyEntry> {
    let link = config.links.iter().find(|link| link.name == up.uplink.link);
    let addresses = link.into_iter().flat_map(|link| &link.addresses);
    let ipv6 = up.uplink.gateway_ipv6.is_some();
    addresses.filter(move |address| address.ip().is_ipv4() || ipv6).map(move |address| {
        PolicyEntry {
            priority: RULE_PRIORITIES.start() + OWN_ADDRESSES,
            ipv4: address.ip().is_ipv4(),
            source: Some(address.network()),
            destination: None,
            link: None,
            mark: None,
            table: up.table,
        }
    })
}

/// The uplink's own way out by `gateway`, and whatever else the main table leads to in that version of IP, but for the networks
/// of other uplinks: their neighbours, too, are answered by the uplink that they came in by, and asked with its address.
fn routes(config: &RouterDocument, up: &Numbered<'_>, gateway: IpAddr) -> BTreeSet<RouteEntry> {
    let everything = Cidr::everything(gateway);
    let whole = if gateway.is_ipv4() { 32 } else { 128 };
    let entry = |destination, metric, link: &LinkName, via| RouteEntry {
        table: up.table,
        destination,
        metric,
        link: link.clone(),
        via,
        source: None,
    };
    let own = entry(everything, metric(everything), &up.uplink.link, Some(gateway));
    let is_other = |link: &LinkName| {
        *link != up.uplink.link && config.role.uplinks.iter().any(|other| other.link == *link)
    };
    let connected = config.links.iter().filter(|link| link.role != LinkRole::Control);
    let connected = connected.filter(|link| !is_other(&link.name));
    let connected = connected.flat_map(|link| {
        let networks = link.addresses.iter();
        let networks = networks.filter(|it| it.ip().is_ipv4() == gateway.is_ipv4());
        networks
            .filter(|it| it.prefix() < whole)
            .map(move |it| entry(it.network(), metric(it.network()), &link.name, None))
    });
    let others = config.routes.iter().filter(|route| {
        route.table.is_none()
            && route.destination.is_ipv4() == gateway.is_ipv4()
            && route.destination != everything
    });
    let others =
        others.map(|route| entry(route.destination, route.kernel_metric(), &route.link, route.via));
    // a network of a link goes before a route to the same one
    let mut all: BTreeSet<RouteEntry> = std::iter::once(own).chain(connected).collect();
    let known: BTreeSet<Cidr> = all.iter().map(|route| route.destination).collect();
    all.extend(others.filter(|route| !known.contains(&route.destination)));
    all
}

fn marks(fragment: &mut Fragment<Slot>, config: &RouterDocument, uplinks: &[Numbered<'_>]) {
    let value = |mark: u16| Element::from([ElementValue::Mark(mark.into())]);
    let mark_of = |link: &LinkName| uplinks.iter().find(|up| up.uplink.link == *link);
    let entering = uplinks.iter().map(|up| {
        let key = Element::from([up.uplink.link.clone().into()]);
        (key, Entry { value: value(up.mark), id: None })
    });
    let networks = config.role.networks.iter().filter_map(|network| {
        let up = mark_of(&network.source_nat.as_ref()?.link)?;
        let id = RuleId::of("source-nat", &network.id);
        Some((Element::from([network.link.clone().into()]), Entry::of(value(up.mark), id)))
    });
    let guests = config.role.static_nat.iter().filter_map(|rule| {
        let public =
            config.role.public_addresses.iter().find(|public| public.address == rule.public)?;
        let up = mark_of(&public.link)?;
        let network = config.role.networks.iter().find(|network| network.id == rule.network)?;
        let key = Element::from([network.link.clone().into(), rule.guest.into()]);
        Some((key, Entry::of(value(up.mark), RuleId::of("static-nat", &rule.id))))
    });
    let map = |key: &[SetType]| Set::map(key, [SetType::Mark]);
    fragment.set(entered(), map(&[SetType::Link]).filled(entering));
    fragment.set(by_network(), map(&[SetType::Link]).filled(networks));
    fragment.set(by_guest(), map(&[SetType::Link, SetType::Ipv4]).filled(guests));
    let noted = MarkValue::Map(vec![Key::Iif], entered());
    let own = |key, map| Expr::SetMark(MarkPlace::Connection, MarkValue::Map(key, map));
    let by_address = own(vec![Key::Iif, Key::SourceV4], by_guest());
    let guests = Expr::Iif(LinkSelector::Set(guest_links()));
    let asked = || Expr::CtDirection(Direction::Original);
    // a sender whom nobody answers is new with each packet, and keeps the mark of the first all the same
    let unmarked = || Expr::ConnectionMark { mask: u32::MAX, value: 0 };
    let kept = Expr::SetMark(MarkPlace::Packet, MarkValue::Copy(MarkPlace::Connection));
    fragment.rules(
        Slot::MarkNew,
        [
            rule("mark/uplink", [new(), Expr::SetMark(MarkPlace::Connection, noted)]),
            rule("mark/static-nat", [asked(), unmarked(), by_address]),
            rule("mark/source-nat", [asked(), unmarked(), own(vec![Key::Iif], by_network())]),
            rule("mark/own-uplink", [guests, asked(), kept]),
            answer("mark/answer"),
        ],
    );
    fragment.rules(Slot::MarkSent, [answer("mark/own-answer")]);
}

/// What answers a connection that came in by an uplink bears its mark.
fn answer(id: &'static str) -> Rule {
    let back = MarkValue::Copy(MarkPlace::Connection);
    rule(id, [Expr::CtDirection(Direction::Reply), Expr::SetMark(MarkPlace::Packet, back)])
}

fn rule<const N: usize>(id: &'static str, exprs: [Expr; N]) -> Rule {
    Rule { id: RuleId::fixed(id), exprs: exprs.into() }
}

fn entered() -> Ident {
    Ident::fixed("uplink-entered")
}

fn by_network() -> Ident {
    Ident::fixed("uplink-by-network")
}

fn by_guest() -> Ident {
    Ident::fixed("uplink-by-guest")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(links: &[&str]) -> Vec<u16> {
        let uplink = |link: &&str| {
            let text = serde_json::json!({ "link": link, "gateway": "192.0.2.1" });
            serde_json::from_value::<Uplink>(text).unwrap()
        };
        let uplinks: Vec<Uplink> = links.iter().map(uplink).collect();
        numbered(&uplinks).iter().map(|up| up.mark).collect()
    }

    #[test]
    fn a_mark_stays_when_another_uplink_comes_or_goes() {
        assert_eq!(marks(&["pub0", "pub1", "pub2"]), [1, 2, 3]);
        assert_eq!(marks(&["pub1", "pub2"]), [2, 3]);
        assert_eq!(marks(&["pub2", "pub0", "pub1"]), [3, 1, 2]);
        assert_eq!(marks(&["wan", "pub0", "lan0", "pub64", "pub99999"]), [2, 1, 3, 4, 5]);
        assert_eq!(marks(&["pub63"]), [64]);
    }
}
