//! Several ways out: answers leave by the uplink that the connection came in by, and guests by the one that has the address
//! they leave with.
//!
//! Guarantees: an uplink is a mark and a routing table. A connection that comes in by an uplink bears its mark, and its
//! answers are looked up in its table, whoever gives them: a guest or this machine. A connection of a guest whose source NAT
//! or static NAT address is of an uplink bears that one's mark for as long as it lives, whatever other connections of the
//! guest do later. Each table has every other route of the main one too, so that tiers, private networks and tunnels are
//! reached from everywhere, but not the networks of other uplinks. Where uplinks are watched, what this machine sends with an
//! address of an uplink is looked up in its table. What the end of a tunnel sends leaves by the uplink that has its address,
//! whatever mark it bears: for the kernel, the packet around a guest's has the guest's mark, and one for a client of remote
//! access that of its security association. A router without a list of uplinks has none of this.

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
const TUNNEL_ENDS: u32 = 899;
const CLIENTS: u32 = 898;
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
    fragment.policy_rules.extend(uplinks.iter().flat_map(|up| tunnel_ends(config, up)));
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

/// Ends of tunnels at addresses of the uplink: IKE, ESP and L2TP. Before the rules that know marks.
fn tunnel_ends<'a>(
    config: &'a RouterDocument,
    up: &Numbered<'_>,
) -> impl Iterator<Item = PolicyEntry> + use<'a> {
    let (vpn, table) = (&config.role.vpn, up.table);
    let link = config.links.iter().find(|link| link.name == up.uplink.link);
    let sites = vpn.connections.iter().map(|connection| connection.address);
    let ends = sites.chain(vpn.remote_access.iter().map(|access| access.address)).map(IpAddr::V4);
    let ends = ends.filter(move |end| {
        link.is_some_and(|link| link.addresses.iter().any(|address| address.ip() == *end))
    });
    ends.map(move |end| PolicyEntry {
        priority: RULE_PRIORITIES.start() + TUNNEL_ENDS,
        ipv4: true,
        source: Some(Cidr::host(end)),
        destination: None,
        link: None,
        mark: None,
        table,
    })
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

    /// net-1 leaves by pub0; the tunnel's address and that of remote access are pub1's, and each uplink's table lacks the
    /// other's network.
    fn with_tunnels() -> RouterDocument {
        let text = std::fs::read("tests/golden/uplinks/config.json").unwrap();
        let mut config = RouterDocument::decode(&text).unwrap().0;
        let secret = format!("sha256:{}", "01".repeat(32));
        let vpn = serde_json::json!({
            "connections": [{
                "id": "c-1", "address": "203.0.113.10", "local_networks": ["10.1.1.0/24"],
                "gateway": {
                    "id": "office", "address": "192.0.2.9", "networks": ["172.16.1.0/24"], "psk": secret,
                    "ike": {"encryption": "aes256", "hash": "sha256", "group": 14},
                    "esp": {"encryption": "aes256", "hash": "sha256"},
                },
            }],
            "remote_access": [{
                "id": "ra-1", "address": "203.0.113.11", "networks": ["net-1"], "psk": secret,
                "range": "10.1.9.1-10.1.9.8", "users": [],
            }],
        });
        config.role.vpn = serde_json::from_value(vpn).unwrap();
        config
    }

    /// The table that a packet is looked up in first.
    fn table(config: &RouterDocument, from: &str, to: &str, mark: u16) -> u32 {
        let inside = |network: Option<Cidr>, address: &str| {
            network.is_none_or(|network| network.contains(address.parse().unwrap()))
        };
        let rules = super::super::desired(config).policy_rules;
        let rules = rules.into_iter().filter(|rule| {
            rule.ipv4
                && inside(rule.source, from)
                && inside(rule.destination, to)
                && rule.mark.is_none_or(|its| its == mark)
        });
        rules.min_by_key(|rule| rule.priority).map_or(MAIN_TABLE, |rule| rule.table)
    }

    #[test]
    fn what_a_tunnel_sends_leaves_by_the_uplink_of_its_address() {
        let config = with_tunnels();
        let (first, second) = (*UPLINK_TABLES.start(), UPLINK_TABLES.start() + 1);
        for mark in [0, 1, 2, 7] {
            // IKE bears no mark, ESP that of the guest, L2TP that of the client's association
            for end in ["203.0.113.10", "203.0.113.11"] {
                assert_eq!(table(&config, end, "192.0.2.9", mark), second, "{end}, mark {mark}");
            }
        }
        // others as before
        assert_eq!(table(&config, "10.1.1.23", "192.0.2.9", 1), first);
        assert_eq!(table(&config, "198.51.100.10", "192.0.2.9", 0), MAIN_TABLE);
        assert_eq!(table(&config, "203.0.113.11", "10.1.9.2", 2), MAIN_TABLE);
    }

    #[test]
    fn the_mark_that_chose_the_tunnel_outlives_that_of_the_uplink() {
        let desired = super::super::desired(&with_tunnels());
        let table = &desired.tables[&super::super::table_id()];
        let rules = &table.chains[&Ident::fixed("mark-output")].rules;
        let ids: Vec<String> = rules.iter().map(|rule| rule.id.to_string()).collect();
        assert_eq!(ids, ["vpn/keep-sent-mark", "mark/own-answer"]);
    }
}
