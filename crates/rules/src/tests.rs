//! Golden scripts, and properties of diff.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{
    Chain, ChainKind, Element, ElementValue, Entry, Expr, Flowtable, Helper, HelperKind, Hook,
    HookPoint, Ident, ObservedTable, ObservedTables, Policy, Rule, RuleId, Script, Set, SetType,
    Table, TableId, Verdict, diff, early,
};

fn id() -> TableId {
    TableId::inet("sluice")
}

fn desired(table: Table) -> BTreeMap<TableId, Table> {
    BTreeMap::from([(id(), table)])
}

fn observed(table: &Table) -> ObservedTables {
    BTreeMap::from([(id(), Arc::new(ObservedTable::of(table)))])
}

/// As a kernel holds it, with handles.
fn loaded(table: Table) -> ObservedTables {
    let mut tables = ObservedTables::new();
    diff(&tables, &desired(table)).apply_to(&mut tables).unwrap();
    tables
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
    let key = Element::from([ElementValue::Link("pub0".parse().unwrap())]);
    let jump = Element::from([Verdict::Jump(chain.clone()).into()]);
    let map = Set::map([SetType::Link], [SetType::Verdict]).mapping([(key, jump)]);
    let old = Table {
        chains: [(chain, Chain::default())].into(),
        sets: [(Ident::fixed("by-link"), map)].into(),
        ..Table::default()
    };
    golden("map-before-chain.nft", &diff(&observed(&old), &desired(Table::default())));
}

#[test]
fn a_rule_in_the_middle_comes_and_goes_alone() {
    let rule = |number: u32| {
        let id = RuleId::try_from(format!("acl/{number}")).unwrap();
        Rule::verdict(id, [Expr::ToSelf], Verdict::Accept)
    };
    let table = |numbers: &[u32]| {
        let rules = numbers.iter().map(|number| rule(*number)).collect();
        let chain = Chain { hook: None, rules };
        Table { chains: [(Ident::fixed("acl-1"), chain)].into(), ..Table::default() }
    };
    let mut now = ObservedTables::new();
    diff(&now, &desired(table(&[1, 2, 3, 4]))).apply_to(&mut now).unwrap();
    golden("rule-moved.nft", &diff(&now, &desired(table(&[1, 3, 5, 2, 4, 6]))));
    golden("rule-gone.nft", &diff(&now, &desired(table(&[1, 2, 4]))));
    golden("rules-other.nft", &diff(&now, &desired(table(&[7, 8]))));
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = (0_u8..4, any::<bool>()).prop_map(|(number, accept)| {
        let verdict = if accept { Verdict::Accept } else { Verdict::Drop };
        let id = RuleId::try_from(format!("rule/{number}")).unwrap();
        Rule::verdict(id, [Expr::ToSelf], verdict)
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
    (0_u8..8).prop_map(|last| Element::from([std::net::Ipv4Addr::from([10, 1, 1, last]).into()]))
}

fn entry() -> impl Strategy<Value = Entry> {
    let id = prop::option::of((0_u8..3).prop_map(|n| RuleId::try_from(format!("id/{n}")).unwrap()));
    (address(), id).prop_map(|(value, id)| Entry { value, id })
}

fn sets() -> impl Strategy<Value = BTreeMap<Ident, Set>> {
    let set = (prop::collection::btree_set(address(), 0..6), any::<bool>())
        .prop_map(|(elements, counter)| Set { counter, ..Set::of([SetType::Ipv4]).with(elements) });
    let map = prop::collection::btree_map(address(), entry(), 0..6)
        .prop_map(|elements| Set { elements, ..Set::map([SetType::Ipv4], [SetType::Ipv4]) });
    prop::collection::btree_map(name("set"), prop_oneof![set, map], 0..4)
}

fn tables() -> impl Strategy<Value = Table> {
    let counters = prop::collection::btree_set(name("counter"), 0..3);
    let helper = prop_oneof![Just(HelperKind::Ftp), Just(HelperKind::Sip)];
    let helper = helper.prop_map(|kind| Helper { kind });
    let helpers = prop::collection::btree_map(name("helper"), helper, 0..3);
    let link = (0_u8..3).prop_map(|number| format!("guest{number}").parse().unwrap());
    let flowtable = prop::collection::btree_set(link, 0..3).prop_map(|links| Flowtable { links });
    let flowtables = prop::collection::btree_map(name("flowtable"), flowtable, 0..2);
    (chains(), sets(), counters, helpers, flowtables).prop_map(
        |(chains, sets, counters, helpers, flowtables)| Table {
            chains,
            sets,
            counters,
            helpers,
            flowtables,
        },
    )
}

proptest! {
    #[test]
    fn what_is_as_wanted_needs_no_change(table in tables()) {
        prop_assert!(diff(&observed(&table), &desired(table)).is_empty());
    }

    #[test]
    fn the_changes_lead_to_what_is_wanted(old in tables(), new in tables(), known in any::<bool>()) {
        let mut now = if known { loaded(old) } else { observed(&old) };
        let script = diff(&now, &desired(new.clone()));
        script.apply_to(&mut now).unwrap();
        prop_assert_eq!(&now, &observed(&new), "{}", script.render());
    }

    /// Rules that both lists have in the same order keep their handles.
    #[test]
    fn a_chain_keeps_the_rules_that_stay(old in rules(), new in rules()) {
        let table = |rules| {
            let chain = Chain { hook: None, rules };
            Table { chains: [(Ident::fixed("acl-1"), chain)].into(), ..Table::default() }
        };
        let mut now = loaded(table(old));
        let chain = |tables: &ObservedTables| tables[&id()].chains["acl-1"].rules.clone();
        let before = chain(&now);
        diff(&now, &desired(table(new))).apply_to(&mut now).unwrap();
        let after = chain(&now);
        let first_same = before.first().zip(after.first()).filter(|(old, new)| old == new);
        if let Some((old, new)) = first_same {
            prop_assert_eq!(old.handle, new.handle);
        }
        let last_same = before.last().zip(after.last()).filter(|(old, new)| old == new);
        if let Some((old, new)) = last_same && before.len() == after.len() {
            prop_assert_eq!(old.handle, new.handle);
        }
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
