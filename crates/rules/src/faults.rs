//! What the kernel would refuse of a table, or what would never do anything: names that lead nowhere, keys of other
//! types than their set's, chains that nothing leads to.

use std::collections::BTreeSet;
use std::fmt;

use crate::{
    ElementValue, Expr, Ident, IpVersion, Key, LinkSelector, MarkValue, Net, Rule, Set, SetType,
    Table, Verdict,
};

/// A mistake in a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A rule or an element names a chain that is not there.
    NoChain(Ident),
    /// A rule names a set or map that is not there.
    NoSet(Ident),
    /// A rule or an element names a counter that is not there.
    NoCounter(Ident),
    /// A rule names a helper that is not there.
    NoHelper(Ident),
    /// A rule names a flowtable that is not there.
    NoFlowtable(Ident),
    /// A rule asks a set for a key of other types, or a set for values, or takes values of other types from a map.
    OtherTypes(Ident),
    /// An element is not of its set's types, or a range in a set without intervals.
    Element(Ident),
    /// Nothing leads to this chain.
    Unreached(Ident),
    /// This chain leads back to itself.
    Loop(Ident),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoChain(name) => write!(f, "there is no chain {name}"),
            Self::NoSet(name) => write!(f, "there is no set {name}"),
            Self::NoCounter(name) => write!(f, "there is no counter {name}"),
            Self::NoHelper(name) => write!(f, "there is no helper {name}"),
            Self::NoFlowtable(name) => write!(f, "there is no flowtable {name}"),
            Self::OtherTypes(name) => write!(f, "{name} is used with other types than its own"),
            Self::Element(name) => write!(f, "{name} has an element that is not of its types"),
            Self::Unreached(name) => write!(f, "nothing leads to chain {name}"),
            Self::Loop(name) => write!(f, "chain {name} leads back to itself"),
        }
    }
}

impl Key {
    /// The type of set that has such keys.
    pub const fn set_type(self) -> SetType {
        match self {
            Self::Iif | Self::Oif => SetType::Link,
            Self::SourceV4 | Self::DestinationV4 | Self::OriginalDestinationV4 => SetType::Ipv4,
            Self::SourceV6 | Self::DestinationV6 | Self::OriginalDestinationV6 => SetType::Ipv6,
            Self::SourceMac => SetType::Mac,
            Self::L4 => SetType::Protocol,
            Self::SourcePort | Self::DestinationPort | Self::OriginalDestinationPort => {
                SetType::Port
            }
            Self::Mark | Self::ConnectionMark => SetType::Mark,
        }
    }
}

impl ElementValue {
    /// Its type.
    pub const fn set_type(&self) -> SetType {
        match self {
            Self::Link(_) => SetType::Link,
            Self::Ipv4(_) => SetType::Ipv4,
            Self::Ipv6(_) => SetType::Ipv6,
            Self::Mac(_) => SetType::Mac,
            Self::Protocol(_) => SetType::Protocol,
            Self::Port(_) => SetType::Port,
            Self::Mark(_) => SetType::Mark,
            Self::Verdict(_) => SetType::Verdict,
            Self::Counter(_) => SetType::Counter,
        }
    }

    fn is_one(&self) -> bool {
        match self {
            Self::Ipv4(span) => span.is_one(),
            Self::Ipv6(span) => span.is_one(),
            Self::Port(span) => span.is_one(),
            _ => true,
        }
    }
}

/// All mistakes in a table; none in one that the kernel takes and that says nothing in vain.
pub fn faults(table: &Table) -> BTreeSet<Fault> {
    let mut faults = BTreeSet::new();
    for chain in table.chains.values() {
        for rule in &chain.rules {
            rule_faults(table, rule, &mut faults);
        }
    }
    for (name, set) in &table.sets {
        set_faults(table, name, set, &mut faults);
    }
    chain_faults(table, &mut faults);
    faults
}

fn rule_faults(table: &Table, rule: &Rule, faults: &mut BTreeSet<Fault>) {
    let mut asks = |set: &Ident, key: &[SetType], values: &[&[SetType]]| {
        let fits = |set: &Set| set.key == key && values.contains(&set.value.as_slice());
        match table.sets.get(set) {
            None => faults.insert(Fault::NoSet(set.clone())),
            Some(is) if !fits(is) => faults.insert(Fault::OtherTypes(set.clone())),
            Some(_) => false,
        };
    };
    let types = |key: &[Key]| key.iter().map(|part| part.set_type()).collect::<Vec<_>>();
    let address = |version: IpVersion| match version {
        IpVersion::V4 => SetType::Ipv4,
        IpVersion::V6 => SetType::Ipv6,
    };
    for expr in &rule.exprs {
        match expr {
            Expr::Iif(LinkSelector::Set(set)) | Expr::Oif(LinkSelector::Set(set)) => {
                asks(set, &[SetType::Link], &[&[]]);
            }
            Expr::Source(net)
            | Expr::Destination(net)
            | Expr::OriginalSource(net)
            | Expr::OriginalDestination(net) => {
                if let Net::Set(version, set) | Net::NotSet(version, set) = net {
                    asks(set, &[address(*version)], &[&[]]);
                }
            }
            Expr::In(key, set) | Expr::NotIn(key, set) => asks(set, &types(key), &[&[]]),
            Expr::Vmap(key, map) => asks(map, &types(key), &[&[SetType::Verdict]]),
            Expr::CounterMap(key, map) => asks(map, &types(key), &[&[SetType::Counter]]),
            Expr::SetMark(_, MarkValue::Map(key, map)) => {
                asks(map, &types(key), &[&[SetType::Mark]]);
            }
            Expr::SnatMap(version, key, map) | Expr::DnatMap(version, key, map) => {
                let to = address(*version);
                asks(map, &types(key), &[&[to], &[to, SetType::Port]]);
            }
            _ => {}
        }
    }
    let missing = rule.exprs.iter().filter_map(|expr| match expr {
        Expr::NamedCounter(name) if !table.counters.contains(name) => {
            Some(Fault::NoCounter(name.clone()))
        }
        Expr::CtHelper(name) if !table.helpers.contains_key(name) => {
            Some(Fault::NoHelper(name.clone()))
        }
        Expr::Offload(name) if !table.flowtables.contains_key(name) => {
            Some(Fault::NoFlowtable(name.clone()))
        }
        _ => None,
    });
    faults.extend(missing);
}

fn set_faults(table: &Table, name: &Ident, set: &Set, faults: &mut BTreeSet<Fault>) {
    for (key, entry) in &set.elements {
        let of = |parts: &[ElementValue], types: &[SetType]| {
            parts.len() == types.len()
                && parts.iter().zip(types).all(|(part, kind)| part.set_type() == *kind)
        };
        let single = set.interval || key.0.iter().all(ElementValue::is_one);
        if !single || !of(&key.0, &set.key) || !of(&entry.value.0, &set.value) {
            faults.insert(Fault::Element(name.clone()));
        }
        for part in entry.value.0.iter() {
            if let ElementValue::Counter(counter) = part
                && !table.counters.contains(counter)
            {
                faults.insert(Fault::NoCounter(counter.clone()));
            }
        }
    }
}

fn target(verdict: &Verdict) -> Option<&Ident> {
    match verdict {
        Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain),
        Verdict::Accept | Verdict::Drop | Verdict::Return => None,
    }
}

/// The chains that a chain leads to, by itself or by a map.
fn next<'t>(table: &'t Table, chain: &Ident) -> BTreeSet<&'t Ident> {
    let rules = table.chains.get(chain).into_iter().flat_map(|chain| &chain.rules);
    let mut all = BTreeSet::new();
    for expr in rules.flat_map(|rule| &rule.exprs) {
        match expr {
            Expr::Verdict(verdict) => all.extend(target(verdict)),
            Expr::Vmap(_, map) => {
                let entries = table.sets.get(map).into_iter().flat_map(|set| set.elements.values());
                all.extend(entries.flat_map(|entry| entry.value.0.iter()).filter_map(|part| {
                    match part {
                        ElementValue::Verdict(verdict) => target(verdict),
                        _ => None,
                    }
                }));
            }
            _ => {}
        }
    }
    all
}

fn chain_faults(table: &Table, faults: &mut BTreeSet<Fault>) {
    let bases = table.chains.iter().filter(|(_, chain)| chain.hook.is_some()).map(|(name, _)| name);
    let mut reached: BTreeSet<&Ident> = bases.clone().collect();
    let mut rest: Vec<&Ident> = bases.collect();
    while let Some(name) = rest.pop() {
        for to in next(table, name) {
            if !table.chains.contains_key(to) {
                faults.insert(Fault::NoChain(to.clone()));
            } else if reached.insert(to) {
                rest.push(to);
            }
        }
    }
    for name in table.chains.keys() {
        if !reached.contains(name) {
            faults.insert(Fault::Unreached(name.clone()));
        }
        if comes_back(table, name) {
            faults.insert(Fault::Loop(name.clone()));
        }
    }
}

fn comes_back(table: &Table, start: &Ident) -> bool {
    let mut seen = BTreeSet::new();
    let mut rest: Vec<&Ident> = next(table, start).into_iter().collect();
    while let Some(name) = rest.pop() {
        if name == start {
            return true;
        }
        if seen.insert(name) {
            rest.extend(next(table, name));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chain, ChainKind, Element, Hook, HookPoint, Policy, RuleId};

    fn table(rules: Vec<Vec<Expr>>) -> Table {
        let rules = rules.into_iter().map(|exprs| Rule { id: RuleId::fixed("r"), exprs }).collect();
        let hook = Hook {
            kind: ChainKind::Filter,
            point: HookPoint::Forward,
            priority: 0,
            policy: Policy::Drop,
        };
        let base = Chain { hook: Some(hook), rules };
        Table { chains: [(Ident::fixed("the-base"), base)].into(), ..Table::default() }
    }

    fn name() -> Ident {
        Ident::fixed("some-name")
    }

    #[test]
    fn each_mistake_is_found() {
        let of = |expr: Expr| faults(&table(vec![vec![expr]])).into_iter().collect::<Vec<_>>();
        assert_eq!(of(Expr::In(vec![Key::Iif], name())), [Fault::NoSet(name())]);
        assert_eq!(of(Expr::Verdict(Verdict::Jump(name()))), [Fault::NoChain(name())]);
        assert_eq!(of(Expr::NamedCounter(name())), [Fault::NoCounter(name())]);
        assert_eq!(of(Expr::CtHelper(name())), [Fault::NoHelper(name())]);
        assert_eq!(of(Expr::Offload(name())), [Fault::NoFlowtable(name())]);
        assert_eq!(
            of(Expr::Verdict(Verdict::Goto(Ident::fixed("the-base")))),
            [Fault::Loop(Ident::fixed("the-base"))]
        );
        assert_eq!(of(Expr::Verdict(Verdict::Accept)), []);
        let mut with_set = table(vec![vec![Expr::In(vec![Key::Oif], name())]]);
        with_set.sets.insert(name(), Set::of([SetType::Ipv4]));
        assert_eq!(faults(&with_set), [Fault::OtherTypes(name())].into());
        let ports = Element::from([crate::Span::new(1_u16, 2).into()]);
        with_set.sets.insert(name(), Set::of([SetType::Port]).with([ports]));
        assert!(faults(&with_set).contains(&Fault::Element(name())));
        let mut alone = table(vec![]);
        alone.chains.insert(name(), Chain::default());
        assert_eq!(faults(&alone), [Fault::Unreached(name())].into());
    }
}
