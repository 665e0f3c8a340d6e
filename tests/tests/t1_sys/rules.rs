//! The memory of the rules: what follows a change is worked out from it, and what others do shows all the same.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sluice_lab::netns::Topology;
use sluice_sys::kernel::{Kernel, RealKernel};
use sluice_sys::model::{Keys, Step};
use sluice_sys::nft::{self, Element, Ident, Script, Set, SetType, Table, early};

use super::{address, all, link, set_up, two};

fn port_forwards(count: u32) -> Table {
    let elements = (0..count).map(|number| {
        let [_, high, mid, low] = number.to_be_bytes();
        let public = Ipv4Addr::new(198, 18 + high % 2, mid, low);
        let guest = Ipv4Addr::new(10, high, mid, low);
        let port = || sluice_api::types::Port::fixed(80).into();
        (Element::from([public.into(), port()]), Element::from([guest.into(), port()]))
    });
    let types = [SetType::Ipv4, SetType::Port];
    let map = Set::map(types, types).mapping(elements);
    Table { sets: [(Ident::fixed("port-forwards"), map)].into(), ..Table::default() }
}

async fn reach(kernel: &RealKernel, table: Table) -> Script {
    let id = nft::TableId { family: nft::Family::Inet, name: Ident::fixed("sluice") };
    let desired = BTreeMap::from([(id, table)]);
    let keys = Keys { tables: desired.keys().cloned().collect(), ..Keys::default() };
    let seen = kernel.observe(&keys).await.unwrap();
    let script = nft::diff(&seen.tables, &desired);
    kernel.check(&script).await.unwrap();
    kernel.apply(&Step::Rules(script.clone())).await.unwrap();
    let rest = nft::diff(&kernel.observe(&keys).await.unwrap().tables, &desired);
    assert!(rest.is_empty(), "{}", rest.render());
    script
}

#[test]
fn rules_are_followed_without_listing_and_foreign_edits_still_show() {
    let mut topology = Topology::new().unwrap();
    let ours = topology.namespace("rules").unwrap();
    ours.enter_async(async || {
        let kernel = RealKernel::open().unwrap();
        reach(&kernel, port_forwards(10)).await;
        let script = reach(&kernel, port_forwards(11)).await;
        assert_eq!(script.changes.len(), 1, "{}", script.render());
        // what is remembered is what a kernel that was never asked before lists
        let fresh = RealKernel::open().unwrap();
        let id = nft::TableId { family: nft::Family::Inet, name: Ident::fixed("sluice") };
        let keys = Keys { tables: [id].into(), ..Keys::default() };
        let (ours_seen, fresh_seen) = (kernel.observe(&keys).await, fresh.observe(&keys).await);
        assert_eq!(ours_seen.unwrap(), fresh_seen.unwrap());
        ours.sh("nft flush map inet sluice port-forwards").check().unwrap();
        let script = reach(&kernel, port_forwards(11)).await;
        assert!(script.render().contains("add element inet sluice port-forwards"));
        ours.sh("nft add table inet foreign").check().unwrap();
        assert!(reach(&kernel, port_forwards(11)).await.is_empty());
        let refused = kernel.check(&nft::diff(&BTreeMap::new(), &bad())).await.unwrap_err();
        assert!(refused.to_string().contains("nft refused the rules"), "{refused}");
    })
    .unwrap();
}

/// A jump to a chain that is nowhere.
fn bad() -> BTreeMap<nft::TableId, Table> {
    let jump = nft::Verdict::Jump(Ident::fixed("no-where"));
    let rule = nft::Rule::verdict(nft::RuleId::fixed("bad"), [], jump);
    let chain = nft::Chain { hook: None, rules: vec![rule] };
    let table = Table { chains: [(Ident::fixed("some-chain"), chain)].into(), ..Table::default() };
    [(early::table_id(), table)].into()
}

#[test]
fn the_early_table_lets_nothing_pass_but_the_control_api() {
    let mut topology = Topology::new().unwrap();
    let (ours, other) = two(&mut topology);
    other.address(&link("eth-b"), address("192.0.2.1/24")).unwrap();
    ours.enter_async(async || {
        let kernel = RealKernel::open().unwrap();
        all(&kernel, set_up().into_iter().take(5)).await;
        let ping = || other.sh("ping -c1 -W1 192.0.2.2").run().unwrap().ok();
        assert!(ping());
        let tables = |table| BTreeMap::from([(early::table_id(), table)]);
        let keys = Keys { tables: [early::table_id()].into(), ..Keys::default() };
        for (table, passes) in
            [(early::drop_all(), false), (early::control_only(&link("pub0"), &[]), true)]
        {
            let desired = tables(table);
            let seen = kernel.observe(&keys).await.unwrap().tables;
            kernel.apply(&Step::Rules(nft::diff(&seen, &desired))).await.unwrap();
            let rest = nft::diff(&kernel.observe(&keys).await.unwrap().tables, &desired);
            assert!(rest.is_empty(), "{}", rest.render());
            assert_eq!(ping(), passes, "{}", ours.state());
        }
        let counters = kernel.counters(&early::table_id()).await.unwrap();
        let ping = counters.rules[&("early-input".to_owned(), "early/ping".to_owned())];
        assert_eq!(ping.packets, 1, "{counters:?}");
    })
    .unwrap();
}

/// Expressions that t1_nft does not have, each in a chain where the kernel takes it.
fn further_expressions() -> Table {
    let (tcp, port) = (nft::Expr::L4([nft::L4::Tcp].into()), sluice_api::types::Port::fixed(8080));
    let both = [nft::MarkPlace::Packet, nft::MarkPlace::Connection];
    let mark =
        |value: nft::MarkValue| both.map(|place| vec![nft::Expr::SetMark(place, value.clone())]);
    let values = both.into_iter().flat_map(|from| {
        [
            nft::MarkValue::Number(7),
            nft::MarkValue::Copy(from),
            nft::MarkValue::Masked(from, 0xffff),
            nft::MarkValue::Replaced { from, mask: 0xff, value: 0x5 },
        ]
    });
    let log = |group| nft::Expr::Log { prefix: nft::RuleId::fixed("drop:input"), group };
    let mut filter = vec![
        vec![nft::Expr::NoReturnPath],
        vec![nft::Expr::Limit { rate: 10, per: nft::Per::Second, burst: 5 }, log(None)],
        vec![nft::Expr::Limit { rate: 3, per: nft::Per::Minute, burst: 1 }, log(Some(2))],
        vec![nft::Expr::Limit { rate: 100, per: nft::Per::Hour, burst: 20 }],
        vec![nft::Expr::ConnectionMark { mask: 0xff, value: 1 }],
        vec![tcp.clone(), nft::Expr::Reject(nft::RejectWith::TcpReset)],
        vec![nft::Expr::Reject(nft::RejectWith::AdminProhibited)],
        vec![nft::Expr::Reject(nft::RejectWith::PortUnreachable)],
    ];
    filter.extend(values.flat_map(mark));
    let to = |ip: &str, port| vec![tcp.clone(), nft::Expr::Dnat(ip.parse().unwrap(), port)];
    let inbound = vec![
        to("10.1.1.2", None),
        to("10.1.1.2", Some(port)),
        to("2001:db8::2", None),
        to("2001:db8::2", Some(port)),
        vec![tcp.clone(), nft::Expr::Redirect(Some(port))],
    ];
    let chain = |hook, rules: Vec<Vec<nft::Expr>>| {
        let named = |(number, mut exprs): (usize, Vec<nft::Expr>)| {
            exprs.insert(exprs.len() - 1, nft::Expr::Counter);
            nft::Rule { id: format!("rule/{number}").try_into().unwrap(), exprs }
        };
        nft::Chain { hook: Some(hook), rules: rules.into_iter().enumerate().map(named).collect() }
    };
    let hook = |kind, point| nft::Hook { kind, point, priority: 0, policy: nft::Policy::Accept };
    let (filters, nats) = (nft::ChainKind::Filter, nft::ChainKind::Nat);
    let chains = [
        ("filter-in", chain(hook(filters, nft::HookPoint::Input), filter)),
        ("nat-in", chain(hook(nats, nft::HookPoint::Prerouting), inbound)),
        (
            "nat-out",
            chain(hook(nats, nft::HookPoint::Postrouting), vec![vec![nft::Expr::Masquerade]]),
        ),
    ];
    Table {
        chains: chains.map(|(name, chain)| (Ident::fixed(name), chain)).into(),
        ..Table::default()
    }
}

#[test]
fn further_expressions_are_listed_back_as_they_were_loaded() {
    let mut topology = Topology::new().unwrap();
    let ours = topology.namespace("exprs").unwrap();
    ours.enter_async(async || {
        reach(&RealKernel::open().unwrap(), further_expressions()).await;
        // once more without memory: only the listing speaks
        let script = reach(&RealKernel::open().unwrap(), further_expressions()).await;
        assert!(script.is_empty(), "{}", script.render());
    })
    .unwrap();
}

/// One element more is one change, however many there are; what that costs is printed, and never decides.
#[test]
fn one_element_is_one_change() {
    let mut topology = Topology::new().unwrap();
    let ours = topology.namespace("cost").unwrap();
    ours.enter_async(async || {
        let kernel = RealKernel::open().unwrap();
        for count in [10_000, 100_000] {
            change(&kernel, port_forwards(count), &format!("{count} elements onto what was")).await;
            let more = port_forwards(count + 1);
            let script = change(&kernel, more, &format!("1 beside {count}")).await;
            assert_eq!(script.changes.len(), 1);
        }
    })
    .unwrap();
}

/// Observe, diff, check and commit, each timed; the wanted state is made before.
async fn change(kernel: &RealKernel, table: Table, what: &str) -> Script {
    let id = nft::TableId { family: nft::Family::Inet, name: Ident::fixed("sluice") };
    let desired = BTreeMap::from([(id, table)]);
    let keys = Keys { tables: desired.keys().cloned().collect(), ..Keys::default() };
    let start = Instant::now();
    let seen = kernel.observe(&keys).await.unwrap();
    let observed = start.elapsed();
    let script = nft::diff(&seen.tables, &desired);
    drop(seen);
    let compared = start.elapsed();
    kernel.check(&script).await.unwrap();
    let checked = start.elapsed();
    let step = Step::Rules(script);
    kernel.apply(&step).await.unwrap();
    let took = start.elapsed();
    let since = |later: Duration, earlier| later.saturating_sub(earlier);
    let phases =
        [observed, since(compared, observed), since(checked, compared), since(took, checked)];
    eprintln!("{what}: {took:?} (observe, diff, check, commit: {phases:?})");
    let Step::Rules(script) = step else { unreachable!("made two lines up") };
    script
}
