//! nftables: a typed model of our tables, rendered to nft script text and compared with what the kernel lists.
//!
//! Guarantees: nothing but validated types reaches a script, so no name can mean anything in it; rendering is
//! byte-stable; two tables are equal exactly when the kernel's listings of them are, counters apart.
//! Rejected: comparing by a digest in a comment, because a rule changed in place would keep it; loading through JSON,
//! because nft 1.0.6 cannot express concatenated maps that way (both forms are written from the same expression).

mod apply;
mod diff;
pub mod early;
mod expr;
mod ident;
mod json;
mod listing;
mod render;
mod table;

pub use apply::Refused;
pub use diff::{Change, Script, diff};
pub use expr::{
    CtState, Expr, IcmpType, Key, L4, LinkSelector, MarkPlace, MarkValue, Net, Per, Ports,
    RejectWith, Verdict,
};
pub use ident::{Ident, RuleId};
pub use listing::{
    Counters, ListingError, ObservedChain, ObservedRule, ObservedSet, ObservedTable,
    ObservedTables, parse,
};
pub use table::{
    Chain, ChainKind, Element, ElementValue, Family, Hook, HookPoint, Map, Policy, Rule, Set,
    SetType, Table, TableId,
};

#[cfg(test)]
mod tests;
