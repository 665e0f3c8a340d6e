//! The one statement tree: each of our expressions is lowered to it, nft text is printed from it, listings and echoes of
//! nft are read into it.
//!
//! Guarantees: a statement that is read is understood whole, or it is foreign; printing what was lowered and what nft
//! lists for it gives the same text, which is how rules are compared and shown.
//!
//! The tree is that of the crate `nftables`. Two things of ours it cannot say, and reads as something else: matches of
//! IPsec, and counters chosen by a map. They are [`Own`].

mod lower;
mod normal;
mod print;
mod read;

use std::borrow::Cow;

use nftables::expr::{Expression, Map};
use nftables::stmt::{Operator, Statement};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::text::joined;
use crate::{Rule, Verdict};

/// An expression of the tree.
type Tree = Expression<'static>;

/// A statement of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stmt {
    /// One that the crate has.
    Known(Statement<'static>),
    /// One that it has not.
    Own(Own),
}

impl From<Statement<'static>> for Stmt {
    fn from(known: Statement<'static>) -> Self {
        Self::Known(known)
    }
}

/// Statements that the crate cannot say, as nft's JSON has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Own {
    /// A comparison with something that the crate does not know.
    Match(OwnMatch),
    /// A counter that a map chooses.
    Counter(CounterMap),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnMatch {
    op: Operator,
    left: Asked,
    right: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Asked {
    Ipsec(State),
    Meta(Anything),
    Rt(Anything),
}

/// The request id of a transformation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    key: Request,
    dir: Way,
    spnum: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Request {
    Reqid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    In,
    Out,
}

/// Whether IPsec has to do with the packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Anything {
    key: Exists,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Exists {
    Ipsec,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Answer {
    Exists(bool),
    Number(u32),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CounterMap {
    map: Map<'static>,
}

fn word(text: impl Into<Cow<'static, str>>) -> Tree {
    Expression::String(text.into())
}

/// The rule as a script has it, without its comment.
pub(crate) fn script(rule: &Rule) -> String {
    text(&lower::rule(rule))
}

/// The rule in the form in which it is compared with a listing: what nft leaves out is left out.
pub(crate) fn compared(rule: &Rule) -> String {
    text(&normal::form(lower::rule(rule)))
}

fn text(statements: &[Stmt]) -> String {
    // what is lowered is printable: a test lowers every expression
    joined(statements.iter().map(|statement| print::statement(statement).unwrap_or_default()), " ")
}

/// A verdict as an element of a map has it.
pub(crate) fn verdict(end: &Verdict) -> String {
    print::statement(&lower::verdict(end)).unwrap_or_default()
}

/// A listed rule's expressions in the form in which they are compared. What is not of our making shows as nft's JSON,
/// which is never equal to a rule of ours.
pub(crate) fn listed(exprs: &Value) -> String {
    let all = exprs.as_array().map(Vec::as_slice).unwrap_or_default();
    let known: Option<Vec<Stmt>> = all.iter().map(read::statement).collect();
    let printed = known.and_then(|known| {
        normal::form(known).iter().map(print::statement).collect::<Option<Vec<String>>>()
    });
    printed.map_or_else(|| exprs.to_string(), |statements| joined(statements, " "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::listed;

    #[test]
    fn what_is_not_understood_whole_is_foreign() {
        let prefix = json!([{"dnat": {
            "family": "ip",
            "addr": "10.0.0.1",
            "flags": "netmap",
            "type_flags": "prefix",
        }}]);
        assert!(listed(&prefix).starts_with('['), "{}", listed(&prefix));
        let extra = json!([{"counter": {"packets": 1, "bytes": 2, "new": 3}}]);
        assert!(listed(&extra).starts_with('['));
        assert!(listed(&json!([{"some new statement": null}])).starts_with('['));
        assert!(listed(&json!([{"continue": null}])).starts_with('['));
    }

    #[test]
    fn counters_are_blank_and_lists_have_one_order() {
        let one = json!([
            {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["related", "established"]}},
            {"counter": {"packets": 7, "bytes": 5_000_000_000_u64}},
        ]);
        assert_eq!(listed(&one), "ct state established,related counter");
    }

    #[test]
    fn old_and_new_listings_of_the_same_are_the_same() {
        let flags = |right| {
            let left = json!({"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, right]});
            listed(&json!([{"match": {"op": "==", "left": left, "right": "syn"}}]))
        };
        assert_eq!(flags(json!(["syn", "rst"])), "tcp flags & (rst | syn) == syn");
        assert_eq!(flags(json!(["syn", "rst"])), flags(json!({"|": ["rst", "syn"]})));
        let code = |right| {
            let left = json!({"payload": {"protocol": "icmp", "field": "code"}});
            listed(&json!([{"match": {"op": "==", "left": left, "right": right}}]))
        };
        assert_eq!(code(json!(4)), "icmp code 4");
        assert_eq!(code(json!("frag-needed")), "icmp code 4");
    }

    #[test]
    fn a_protocol_that_the_ports_say_already_is_left_out() {
        let protocol =
            json!({"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 6}});
        let ports = |protocol| {
            let left = json!({"payload": {"protocol": protocol, "field": "dport"}});
            json!({"match": {"op": "==", "left": left, "right": 80}})
        };
        let long = listed(&json!([protocol, ports("th")]));
        assert_eq!(long, "tcp dport 80");
        assert_eq!(listed(&json!([ports("tcp")])), long);
        assert_eq!(listed(&json!([protocol])), "meta l4proto tcp");
    }
}
