//! Usage: bytes and packets of public addresses, networks and forwards, in a table of its own.
//!
//! Guarantees: nothing here judges a packet; whatever becomes of the rules, what was counted stays, since an element
//! that stays keeps its counter. Every packet counts, not only the first of a connection. What is counted is the IP
//! packet as the other side sees it: at a public address before translation inwards and after translation outwards.
//! What rules themselves count is in their own table: the packets that they judged, which of a connection is the first.

use std::net::IpAddr;

use sluice_api::RouterDocument;
use sluice_api::config::LinkRole;
use sluice_sys::nft::{
    Chain, ChainKind, Element, ElementValue, Entry, Expr, Hook, HookPoint, Ident, Key, L4, Policy,
    Rule, RuleId, Set, SetType, Table, TableId,
};

use super::forwards::{Entries, Four};

/// Before destination NAT, whose priority is -100.
const BEFORE_TRANSLATION: i32 = -110;
/// After source NAT, whose priority is 100.
const AFTER_TRANSLATION: i32 = 300;

/// The table.
pub fn table_id() -> TableId {
    TableId::inet(sluice_sys::model::USAGE_TABLE)
}

/// Its content, with the elements that its `forwards` are.
pub(super) fn table(config: &RouterDocument, forwards: &Four<Entries>) -> Table {
    let mut table = Table::default();
    let own = addresses_v6(config);
    let mut came = vec![
        counting("address-received", vec![Key::Iif, Key::DestinationV4], None),
        counting("network-sent", vec![Key::Iif], None),
        counting("forward-received", to_port(), Some(PORTS)),
        counting("forwards-received", to_port(), Some(PORTS)),
    ];
    let mut goes = vec![
        counting("address-sent", vec![Key::Oif, Key::SourceV4], None),
        counting("network-received", vec![Key::Oif], None),
        counting("forward-sent", from_port(), Some(PORTS)),
        counting("forwards-sent", from_port(), Some(PORTS)),
    ];
    if !own.is_empty() {
        let (came_to, left_with) =
            (vec![Key::Iif, Key::DestinationV6], vec![Key::Oif, Key::SourceV6]);
        came.push(counting("address-v6-received", came_to, None));
        goes.push(counting("address-v6-sent", left_with, None));
    }
    let chain = |point, priority, rules| {
        let hook = Hook { kind: ChainKind::Filter, point, priority, policy: Policy::Accept };
        Chain { hook: Some(hook), rules }
    };
    table.chains.extend([
        (Ident::fixed("usage-in"), chain(HookPoint::Prerouting, BEFORE_TRANSLATION, came)),
        (Ident::fixed("usage-out"), chain(HookPoint::Postrouting, AFTER_TRANSLATION, goes)),
    ]);
    let on_links = |key: &[SetType]| Set::of(key).counted();
    let six = (!own.is_empty()).then_some(("address-v6", &[SetType::Link, SetType::Ipv6][..], own));
    let always = [
        ("address", &[SetType::Link, SetType::Ipv4][..], addresses(config)),
        ("network", &[SetType::Link][..], networks(config)),
        ("forward", &PORT_KEY[..], forwards.counted.clone()),
        ("forwards", &PORT_KEY[..], forwards.counted_ranges.clone()),
    ];
    for (name, key, elements) in always.into_iter().chain(six) {
        let mut set = Set { elements, ..on_links(key) };
        set.interval = name == "forwards";
        for way in ["received", "sent"] {
            if let Ok(name) = Ident::try_from(format!("{name}-{way}")) {
                table.sets.insert(name, set.clone());
            }
        }
    }
    table
}

const PORT_KEY: [SetType; 3] = [SetType::Ipv4, SetType::Protocol, SetType::Port];
const PORTS: [L4; 2] = [L4::Tcp, L4::Udp];

fn to_port() -> Vec<Key> {
    vec![Key::DestinationV4, Key::L4, Key::DestinationPort]
}

fn from_port() -> Vec<Key> {
    vec![Key::SourceV4, Key::L4, Key::SourcePort]
}

/// The lookup counts in the element that it finds, and does nothing else.
fn counting(set: &'static str, key: Vec<Key>, ports: Option<[L4; 2]>) -> Rule {
    let mut exprs: Vec<Expr> = ports.map(|l4| Expr::L4(l4.into())).into_iter().collect();
    exprs.push(Expr::In(key, Ident::fixed(set)));
    Rule { id: RuleId::fixed(set), exprs }
}

type Counted = (Element, Entry);

fn counted(key: Element, id: Option<RuleId>) -> Counted {
    (key, Entry { value: Element::default(), id })
}

fn addresses(config: &RouterDocument) -> Entries {
    own(config, |address| match address {
        IpAddr::V4(address) => Some(address.into()),
        IpAddr::V6(_) => None,
    })
}

/// IPv6 is not translated: these are the router's own, which carry its own connections and those of tunnels.
fn addresses_v6(config: &RouterDocument) -> Entries {
    own(config, |address| match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address.into()),
    })
}

/// The addresses of public links that `value` makes something of.
fn own(config: &RouterDocument, value: fn(IpAddr) -> Option<ElementValue>) -> Entries {
    let links = config.links.iter().filter(|link| link.role == LinkRole::Public);
    let each = links.flat_map(|link| link.addresses.iter().map(move |of| (&link.name, of.ip())));
    each.filter_map(|(link, of)| {
        let id = RuleId::try_from(of.to_string()).ok();
        Some(counted([link.clone().into(), value(of)?].into(), id))
    })
    .collect()
}

fn networks(config: &RouterDocument) -> Entries {
    let networks = config.role.networks.iter();
    networks
        .map(|network| {
            let id = RuleId::try_from(network.id.to_string()).ok();
            counted([network.link.clone().into()].into(), id)
        })
        .collect()
}
