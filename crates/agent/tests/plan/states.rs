//! Random states that an appliance may want: NICs under any names, VLANs on any of them, addresses, routes, rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sluice_api::config::Attachment;
use sluice_api::types::{InterfaceAddress, LinkName};
use sluice_sys::model::{Desired, DesiredLink, MAIN_TABLE, RouteEntry, SysctlKey};
use sluice_sys::nft::{
    Chain, ChainKind, Element, ElementValue, Expr, Family, Hook, HookPoint, Ident, LinkSelector,
    Policy, Rule, RuleId, Set, SetType, Table, TableId, Verdict,
};

use crate::world::mac;

/// NICs of the machine, with addresses 1, 2 and so on.
pub(crate) const NICS: u8 = 4;

const NIC_NAMES: [&str; 6] = ["ctl", "guest0", "pub0", "pub1", "trunk0", "trunk1"];
/// Some are names that a NIC may have in another state.
const VLAN_NAMES: [&str; 5] = ["guest0", "guest1", "guest2", "pub1", "tier-3"];
const ADDRESSES: [&str; 7] = [
    "10.1.1.1/24",
    "10.1.1.2/24",
    "10.1.2.1/24",
    "198.51.100.10/24",
    "2001:db8:2::1/64",
    "2001:db8:2::2/64",
    "2001:db8:3::1/48",
];
const DESTINATIONS: [&str; 5] =
    ["0.0.0.0/0", "10.9.0.0/16", "192.0.2.0/24", "::/0", "2001:db8:9::/48"];

pub(crate) fn sluice() -> TableId {
    TableId { family: Family::Inet, name: Ident::fixed("sluice") }
}

fn link(name: &str) -> LinkName {
    name.parse().unwrap()
}

type Links = BTreeMap<LinkName, DesiredLink>;

fn nics() -> impl Strategy<Value = Links> {
    let nic = (select(vec![1400_u64, 1500, 1600, 9000]),);
    let order = Just((1..=NICS).collect::<Vec<_>>()).prop_shuffle();
    let names = subsequence(NIC_NAMES.to_vec(), 1..=usize::from(NICS));
    (order, names, prop::collection::vec(nic, usize::from(NICS))).prop_map(
        |(order, names, sizes)| {
            let nics = names.into_iter().zip(order).zip(sizes);
            nics.map(|((name, number), (mtu,))| {
                let attach = Attachment::Nic { mac: mac(number) };
                (link(name), DesiredLink { attach, mtu: mtu.try_into().unwrap() })
            })
            .collect()
        },
    )
}

#[derive(Clone, Debug)]
struct Vlan {
    name: &'static str,
    trunk: prop::sample::Index,
    id: u64,
    mac: Option<u8>,
    mtu: u64,
}

fn vlans() -> impl Strategy<Value = Vec<Vlan>> {
    let mtu = select(vec![1300_u64, 1400, 1500, 9000]);
    let mac = prop::option::of(50_u8..52);
    let vlan = (any::<prop::sample::Index>(), 100_u64..104, mac, mtu);
    let names = subsequence(VLAN_NAMES.to_vec(), 0..=VLAN_NAMES.len());
    (names, prop::collection::vec(vlan, VLAN_NAMES.len())).prop_map(|(names, rest)| {
        let vlans = names.into_iter().zip(rest);
        vlans.map(|(name, (trunk, id, mac, mtu))| Vlan { name, trunk, id, mac, mtu }).collect()
    })
}

/// NICs with VLANs on them, as a checked configuration has them: no name and no tag twice, no VLAN wider than its trunk.
fn links() -> impl Strategy<Value = Links> {
    (nics(), vlans()).prop_map(|(nics, vlans)| {
        let mut links = nics.clone();
        let mut tags = BTreeSet::new();
        for vlan in vlans {
            let name = link(vlan.name);
            let (trunk, beneath) = nics.iter().nth(vlan.trunk.index(nics.len())).unwrap();
            if links.contains_key(&name) || !tags.insert((trunk.clone(), vlan.id)) {
                continue;
            }
            let mtu = vlan.mtu.min(u64::from(beneath.mtu.get())).try_into().unwrap();
            let (id, mac) = (vlan.id.try_into().unwrap(), vlan.mac.map(mac));
            let attach = Attachment::Vlan { trunk: trunk.clone(), id, mac };
            links.insert(name, DesiredLink { attach, mtu });
        }
        links
    })
}

type Choice = Option<prop::sample::Index>;

fn addresses(links: &Links, choices: &[Choice]) -> BTreeSet<(LinkName, InterfaceAddress)> {
    let chosen = ADDRESSES.iter().zip(choices).filter_map(|(address, choice)| {
        let name = links.keys().nth(choice.as_ref()?.index(links.len()))?;
        Some((name.clone(), address.parse().unwrap()))
    });
    chosen.collect()
}

/// Next hops are the last but one address of a network that the link is in.
fn routes(
    addresses: &BTreeSet<(LinkName, InterfaceAddress)>,
    choices: &[(Choice, bool)],
) -> BTreeSet<RouteEntry> {
    let route = |(destination, (choice, plain)): (&&str, &(Choice, bool))| {
        let destination: sluice_api::types::Cidr = destination.parse().unwrap();
        let v4 = destination.is_ipv4();
        let near: Vec<_> =
            addresses.iter().filter(|(_, address)| address.ip().is_ipv4() == v4).collect();
        let index = choice.as_ref()?;
        let (link, address) = near.get(index.index(near.len().max(1)))?;
        let via = match address.network().last() {
            std::net::IpAddr::V4(last) => (u32::from(last) - 1).to_be_bytes().into(),
            std::net::IpAddr::V6(last) => (u128::from(last) - 1).to_be_bytes().into(),
        };
        let metric = match (plain, v4) {
            (true, true) => 0,
            (true, false) => 1024,
            (false, _) => 50,
        };
        let (link, via) = (link.clone(), Some(via));
        Some(RouteEntry { table: MAIN_TABLE, destination, metric, link, via, source: None })
    };
    DESTINATIONS.iter().zip(choices).filter_map(route).collect()
}

fn sysctls(links: &Links, forward: bool, strict: bool) -> BTreeMap<SysctlKey, String> {
    let forwarding = (SysctlKey::fixed("net.ipv4.ip_forward"), u8::from(forward).to_string());
    let filters = links
        .keys()
        .filter(|_| strict)
        .map(|link| (SysctlKey::of_link("net.ipv4.conf", link, "rp_filter"), "1".to_owned()));
    // as every configuration has it
    let promote = (SysctlKey::fixed("net.ipv4.conf.all.promote_secondaries"), "1".to_owned());
    [forwarding, promote].into_iter().chain(filters).collect()
}

fn table(links: &Links, rules: &[u8], policy: Policy, mapped: bool) -> Table {
    let hook = Hook { kind: ChainKind::Filter, point: HookPoint::Input, priority: 0, policy };
    let accept = |number: &u8| {
        let name = links.keys().nth(usize::from(*number) % links.len()).unwrap();
        let matches = [Expr::Iif(LinkSelector::One(name.clone()))];
        let id = RuleId::try_from(format!("input/{number}")).unwrap();
        Rule::verdict(id, matches, Verdict::Accept)
    };
    let key = |name: &LinkName| Element::from([ElementValue::Link(name.clone())]);
    let value = || Element::from([Ipv4Addr::new(198, 51, 100, 10).into()]);
    let set = Set::of([SetType::Link]).with(links.keys().map(key));
    let map = Set::map([SetType::Link], [SetType::Ipv4])
        .mapping(links.keys().map(|name| (key(name), value())));
    let mapped = mapped.then(|| (Ident::fixed("snat-by-link"), map));
    let chain = Chain { hook: Some(hook), rules: rules.iter().map(accept).collect() };
    Table {
        chains: [(Ident::fixed("filter-input"), chain)].into(),
        sets: mapped.into_iter().chain([(Ident::fixed("all-links"), set)]).collect(),
        ..Table::default()
    }
}

/// A state whose parts fit together.
pub(crate) fn desired() -> impl Strategy<Value = Desired> {
    let choice = || prop::option::weighted(0.7, any::<prop::sample::Index>());
    let rules = prop::collection::vec(0_u8..4, 0..4);
    let policy = prop_oneof![Just(Policy::Drop), Just(Policy::Accept)];
    (
        links(),
        prop::collection::vec(choice(), ADDRESSES.len()),
        prop::collection::vec((choice(), any::<bool>()), DESTINATIONS.len()),
        any::<[bool; 4]>(),
        (rules, policy),
    )
        .prop_map(
            |(links, places, hops, [forward, strict, mapped, ruled], (rules, policy))| {
                let addresses = addresses(&links, &places);
                let made = ruled.then(|| (sluice(), table(&links, &rules, policy, mapped)));
                Desired {
                    routes: routes(&addresses, &hops),
                    policy_rules: BTreeSet::new(),
                    sysctls: sysctls(&links, forward, strict),
                    tables: made.into_iter().collect(),
                    addresses,
                    links,
                    ..Desired::default()
                }
            },
        )
}
