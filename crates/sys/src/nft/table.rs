//! Tables, chains, sets and maps as we own them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use sluice_api::types::{LinkName, Port};

use super::{Expr, Ident, L4, RuleId, Verdict};

/// A table by family and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId {
    /// Family of the packets it sees.
    pub family: Family,
    /// Its name.
    pub name: Ident,
}

/// Address families of tables that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
}

/// One table, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Chains by name.
    pub chains: BTreeMap<Ident, Chain>,
    /// Sets by name.
    pub sets: BTreeMap<Ident, Set>,
    /// Maps by name.
    pub maps: BTreeMap<Ident, Map>,
}

/// A chain: its hook, if packets enter it by one, and its rules in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Where packets enter; `None` for a chain that is jumped to.
    pub hook: Option<Hook>,
    /// Rules in order of evaluation.
    pub rules: Vec<Rule>,
}

/// Where packets enter a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Type of the chain.
    pub kind: ChainKind,
    /// Which hook.
    pub point: HookPoint,
    /// Order among chains of the hook; smaller is earlier.
    pub priority: i32,
    /// What happens to packets at the end of the chain.
    pub policy: Policy,
}

/// Types of base chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChainKind {
    /// Filtering.
    Filter,
    /// Address translation; sees the first packet of each connection.
    Nat,
}

/// Netfilter hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HookPoint {
    /// Before routing.
    Prerouting,
    /// To this machine.
    Input,
    /// Through this machine.
    Forward,
    /// From this machine.
    Output,
    /// After routing.
    Postrouting,
}

/// What happens at the end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Policy {
    /// Pass.
    Accept,
    /// Lose.
    Drop,
}

/// A rule with the id by which it is known to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its id, kept in the kernel as comment.
    pub id: RuleId,
    /// Expressions in order.
    pub exprs: Vec<Expr>,
}

impl Rule {
    /// A rule that counts what it matches and ends with `verdict`.
    pub fn verdict(id: RuleId, matches: impl IntoIterator<Item = Expr>, verdict: Verdict) -> Self {
        Self::action(id, matches, Expr::Verdict(verdict))
    }

    /// A rule that counts what it matches and then does `action`.
    pub fn action(id: RuleId, matches: impl IntoIterator<Item = Expr>, action: Expr) -> Self {
        let mut exprs: Vec<Expr> = matches.into_iter().collect();
        exprs.push(Expr::Counter);
        exprs.push(action);
        Self { id, exprs }
    }
}

/// Types of set elements and map keys and values, and concatenations of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SetType {
    /// `ifname`
    Link,
    /// `ipv4_addr`
    Ipv4,
    /// `inet_proto`
    L4,
    /// `inet_service`
    Port,
    /// `verdict`; map values only
    Verdict,
}

/// A set: a hash, since elements come and go one by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Type of each part of an element.
    pub key: Vec<SetType>,
    /// The elements.
    pub elements: BTreeSet<Element>,
}

/// A map from elements to values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// Type of each part of a key.
    pub key: Vec<SetType>,
    /// Type of each part of a value.
    pub value: Vec<SetType>,
    /// The elements.
    #[serde(with = "crate::pairs")]
    pub elements: BTreeMap<Element, Element>,
}

/// An element: one value, or several concatenated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Element(pub Vec<ElementValue>);

/// A part of an element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ElementValue {
    /// A link.
    Link(LinkName),
    /// An address.
    Ipv4(Ipv4Addr),
    /// A transport protocol.
    L4(L4),
    /// A port.
    Port(Port),
    /// A verdict.
    Verdict(Verdict),
}
