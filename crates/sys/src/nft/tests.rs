//! Golden scripts, and properties of diff.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{
    Chain, ChainKind, Element, ElementValue, Expr, Family, Hook, HookPoint, Ident, Map,
    ObservedTable, ObservedTables, Policy, Rule, RuleId, Script, Set, SetType, Table, TableId,
    Verdict, diff, early,
};

fn id() -> TableId {
    TableId { family: Family::Inet, name: Ident::fixed("sluice") }
}

fn desired(table: Table) -> BTreeMap<TableId, Table> {
    BTreeMap::from([(id(), table)])
}

fn observed(table: &Table) -> ObservedTables {
    BTreeMap::from([(id(), Arc::new(ObservedTable::of(table)))])
}

/// Compares with the file in `tests/golden`, or writes it when `BLESS` is set.
fn golden(name: &str, script: &Script) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = script.render();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "{name} differs: rewrite with `cargo xtask bless`");
}

#[test]
fn early_tables_render_as_ever() {
    let none = ObservedTables::new();
    let table = |table| BTreeMap::from([(early::table_id(), table)]);
    golden("early-drop-all.nft", &diff(&none, &table(early::drop_all())));
    let link = "ctl".parse().unwrap();
    golden("early-control.nft", &diff(&none, &table(early::control_only(&link, &[]))));
    let managers = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap());
    golden("early-managers.nft", &diff(&none, &table(early::control_only(&link, &managers))));
}

#[test]
fn a_map_that_goes_lets_go_of_the_chains_it_jumps_to_first() {
    let chain = Ident::fixed("by-jump");
    let jump = Element(vec![ElementValue::Verdict(Verdict::Jump(chain.clone()))]);
    let key = Element(vec![ElementValue::Link("pub0".parse().unwrap())]);
    let (types, value) = (vec![SetType::Link], vec![SetType::Verdict]);
    let map = Map { key: types, value, elements: [(key, jump)].into() };
    let old = Table {
        chains: [(chain, Chain::default())].into(),
        maps: [(Ident::fixed("by-link"), map)].into(),
        ..Table::default()
    };
    golden("map-before-chain.nft", &diff(&observed(&old), &desired(Table::default())));
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = (0_u8..4, any::<bool>()).prop_map(|(number, accept)| {
        let verdict = if accept { Verdict::Accept } else { Verdict::Drop };
        let id = RuleId::try_from(format!("rule/{number}")).unwrap();
        Rule::verdict(id, [Expr::CtDnat], verdict)
    });
    prop::collection::vec(rule, 0..4)
}

fn chains() -> impl Strategy<Value = BTreeMap<Ident, Chain>> {
    let policy = prop_oneof![Just(Policy::Accept), Just(Policy::Drop)];
    let hook = policy.prop_map(|policy| Hook {
        kind: ChainKind::Filter,
        point: HookPoint::Input,
        priority: 0,
        policy,
    });
    let chain = (prop::option::of(hook), rules()).prop_map(|(hook, rules)| Chain { hook, rules });
    prop::collection::btree_map(name("chain"), chain, 0..4)
}

fn name(kind: &'static str) -> impl Strategy<Value = Ident> {
    (0_u8..4).prop_map(move |number| Ident::try_from(format!("{kind}-{number}")).unwrap())
}

fn address() -> impl Strategy<Value = Element> {
    (0_u8..8).prop_map(|last| Element(vec![ElementValue::Ipv4([10, 1, 1, last].into())]))
}

fn tables() -> impl Strategy<Value = Table> {
    let set = prop::collection::btree_set(address(), 0..6)
        .prop_map(|elements| Set { key: vec![SetType::Ipv4], elements });
    let map = prop::collection::btree_map(address(), address(), 0..6).prop_map(|elements| Map {
        key: vec![SetType::Ipv4],
        value: vec![SetType::Ipv4],
        elements,
    });
    let sets = prop::collection::btree_map(name("set"), set, 0..3);
    let maps = prop::collection::btree_map(name("map"), map, 0..3);
    (chains(), sets, maps).prop_map(|(chains, sets, maps)| Table { chains, sets, maps })
}

proptest! {
    #[test]
    fn what_is_as_wanted_needs_no_change(table in tables()) {
        prop_assert!(diff(&observed(&table), &desired(table)).is_empty());
    }

    #[test]
    fn the_changes_lead_to_what_is_wanted(old in tables(), new in tables()) {
        let mut now = observed(&old);
        let script = diff(&now, &desired(new.clone()));
        script.apply_to(&mut now).unwrap();
        prop_assert_eq!(&now, &observed(&new), "{}", script.render());
    }

    #[test]
    fn a_refused_script_leaves_everything_as_it_was(old in tables(), new in tables()) {
        let script = diff(&observed(&old), &desired(new));
        let mut elsewhere = ObservedTables::new();
        if script.apply_to(&mut elsewhere).is_err() {
            prop_assert_eq!(elsewhere, ObservedTables::new());
        }
    }

    #[test]
    fn plans_survive_being_kept_as_json(old in tables(), new in tables()) {
        let script = diff(&observed(&old), &desired(new));
        let kept: Script = serde_json::from_str(&serde_json::to_string(&script).unwrap()).unwrap();
        prop_assert_eq!(kept, script);
    }
}
