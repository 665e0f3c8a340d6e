//! A namespace with the tables that a test wants.

use std::collections::BTreeMap;

use sluice_api::types::Port;
use sluice_lab::netns::{Namespace, Topology};
use sluice_sys::nft::{
    self, Chain, ChainKind, Counters, Element, ElementValue, Expr, Hook, HookPoint, Ident,
    ObservedTables, Policy, Rule, RuleId, Script, Table, TableId,
};

pub(crate) fn ours() -> TableId {
    TableId::inet("sluice")
}

/// The nft of the tests.
pub(crate) fn program() -> String {
    sluice_lab::netns::nft().display().to_string()
}

pub(crate) struct World {
    pub(crate) ns: Namespace,
    _topology: Topology,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        let mut topology = Topology::new().unwrap();
        Self { ns: topology.namespace(name).unwrap(), _topology: topology }
    }

    pub(crate) fn load(&self, script: &str) {
        let loaded = self.ns.command([program().as_str(), "-f", "-"]).input(script).run().unwrap();
        assert!(loaded.ok(), "{}\n{script}", loaded.stderr);
    }

    fn list(&self) -> (ObservedTables, Counters) {
        let words = [program().as_str(), "-j", "-p", "list", "ruleset"].map(str::to_owned);
        let listing = self.ns.command(words).check().unwrap();
        nft::parse(listing.as_bytes(), |table| *table == ours()).unwrap()
    }

    pub(crate) fn observe(&self) -> ObservedTables {
        self.list().0
    }

    pub(crate) fn counters(&self) -> Counters {
        self.list().1
    }

    /// Brings the namespace to `table` and proves that nothing is left to do, and that what is there is equal to it.
    pub(crate) fn reach(&self, table: &Table) -> Script {
        let desired = BTreeMap::from([(ours(), table.clone())]);
        let script = nft::diff(&self.observe(), &desired);
        self.load(&script.render());
        let seen = self.observe();
        let rest = nft::diff(&seen, &desired);
        assert!(
            rest.is_empty(),
            "after\n{}\nthere is still\n{}\nin\n{}",
            script.render(),
            rest.render(),
            self.ns.state()
        );
        assert_eq!(*seen[&ours()], nft::ObservedTable::of(table));
        script
    }

    /// The handles of a chain's rules, by their ids.
    pub(crate) fn handles(&self, chain: &str) -> Vec<(String, u64)> {
        let seen = self.observe();
        let rules = seen[&ours()].chains[chain].rules.iter();
        rules.map(|rule| (rule.id.clone(), rule.handle.unwrap())).collect()
    }
}

pub(crate) fn port(number: u64) -> Port {
    number.try_into().unwrap()
}

pub(crate) fn id(text: &str) -> RuleId {
    RuleId::try_from(text.to_owned()).unwrap()
}

pub(crate) fn v4(text: &str) -> ElementValue {
    text.parse::<std::net::Ipv4Addr>().unwrap().into()
}

pub(crate) fn v6(text: &str) -> ElementValue {
    text.parse::<std::net::Ipv6Addr>().unwrap().into()
}

pub(crate) fn link(name: &str) -> ElementValue {
    ElementValue::Link(name.parse().unwrap())
}

pub(crate) fn one(part: ElementValue) -> Element {
    Element::from([part])
}

pub(crate) fn base(kind: ChainKind, point: HookPoint, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { hook: Some(Hook { kind, point, priority, policy: Policy::Accept }), rules }
}

/// A rule for each list of expressions, with a counter before the last.
pub(crate) fn rules(name: &str, all: Vec<Vec<Expr>>) -> Vec<Rule> {
    let numbered = all.into_iter().enumerate();
    numbered
        .map(|(number, mut exprs)| {
            exprs.insert(exprs.len() - 1, Expr::Counter);
            Rule { id: id(&format!("{name}/{number}")), exprs }
        })
        .collect()
}

pub(crate) fn named<T, const N: usize>(all: [(&'static str, T); N]) -> BTreeMap<Ident, T> {
    all.map(|(name, one)| (Ident::fixed(name), one)).into()
}
