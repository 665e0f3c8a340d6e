//! Packet rules, pure: a typed model of our nft tables, printed as scripts, read back from listings, and compared.
//!
//! Guarantees: nothing but validated types reaches a script, so no name can mean anything in it; printing is
//! byte-stable; two tables are equal exactly when the kernel's listings of them are, counters apart. No I/O: running
//! nft is `sluice-sys`.
//! Rejected: comparing by a digest in a comment, because a rule changed in place would keep it; loading through JSON,
//! because nft 1.0.6 cannot express concatenated maps that way, and its echo of JSON is the input and proves nothing.

mod diff;
pub mod early;
mod echo;
pub mod eval;
mod expr;
mod faults;
mod ident;
mod key;
mod observe;
pub mod pairs;
mod protocol;
mod set;
mod span;
mod table;
mod text;
mod tree;

pub use diff::{Change, Refused, RuleEdit, Script, diff};
pub use echo::EchoError;
pub use expr::{
    AddressKind, CtState, CtStatus, Direction, Expr, Ipsec, IpsecWay, Label, LinkSelector,
    MarkPlace, MarkValue, Net, Per, Ports, RejectWith, Spread, Targets, Verdict,
};
pub use faults::{Fault, faults};
pub use ident::{Ident, RuleId};
pub use key::Key;
pub use observe::{
    Count, Counters, ListingError, Object, ObjectKey, ObjectKind, ObservedChain, ObservedRule,
    ObservedSet, ObservedTable, ObservedTables, parse,
};
pub use protocol::{IcmpType, IpVersion, L4, Protocol};
pub use set::{Element, ElementValue, Entry, Set, SetType};
pub use span::{AddressSpan, Span, merged};
pub use table::{
    Chain, ChainKind, Family, Flowtable, Helper, HelperKind, Hook, HookPoint, Policy, Rule, Table,
    TableId,
};

/// Name of our nft table of filter and NAT rules.
pub const TABLE_NAME: &str = "sluice";

/// Name of our nft table that counts and does nothing else, so that what was counted outlives every change of rules.
pub const USAGE_TABLE: &str = "sluice_usage";

#[cfg(test)]
mod tests;
