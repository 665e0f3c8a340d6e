//! Tables, chains, rules and named objects as we own them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};
use sluice_api::types::LinkName;

use crate::{Expr, Ident, RuleId, Set, Verdict};

/// A table by family and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId {
    /// Family of the packets it sees.
    pub family: Family,
    /// Its name.
    pub name: Ident,
}

impl TableId {
    /// A table of IPv4 and IPv6 packets.
    pub fn inet(name: &'static str) -> Self {
        Self { family: Family::Inet, name: Ident::fixed(name) }
    }
}

impl Display for TableId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family.as_str(), self.name)
    }
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
    /// Sets and maps by name.
    pub sets: BTreeMap<Ident, Set>,
    /// Named counters.
    pub counters: BTreeSet<Ident>,
    /// Helpers of connection tracking by name.
    pub helpers: BTreeMap<Ident, Helper>,
    /// Flowtables by name.
    pub flowtables: BTreeMap<Ident, Flowtable>,
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

impl Display for Hook {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (kind, point, policy) = (self.kind.as_str(), self.point.as_str(), self.policy.as_str());
        write!(f, "type {kind} hook {point} priority {}; policy {policy};", self.priority)
    }
}

/// A small enumeration with the words that nft has for it.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// As nft writes it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The one that nft writes so.
            pub fn named(word: &str) -> Option<Self> {
                [$(Self::$variant,)*].into_iter().find(|one| one.as_str() == word)
            }
        }
    };
}

words! {
    /// Types of base chains.
    ChainKind {
        /// Filtering.
        Filter = "filter",
        /// Address translation; sees the first packet of each connection.
        Nat = "nat",
        /// Filtering of what this machine sends; a packet whose mark changed is routed again.
        Route = "route",
    }
}

words! {
    /// Netfilter hooks.
    HookPoint {
        /// Before routing.
        Prerouting = "prerouting",
        /// To this machine.
        Input = "input",
        /// Through this machine.
        Forward = "forward",
        /// From this machine.
        Output = "output",
        /// After routing.
        Postrouting = "postrouting",
    }
}

words! {
    /// What happens at the end of a base chain.
    Policy {
        /// Pass.
        Accept = "accept",
        /// Lose.
        Drop = "drop",
    }
}

words! {
    /// Protocols that the kernel has helpers for, which open the ways that the protocol agrees on inside a connection.
    HelperKind {
        /// File transfer (RFC 959).
        Ftp = "ftp",
        /// Trivial file transfer (RFC 1350).
        Tftp = "tftp",
        /// Telephony (RFC 3261).
        Sip = "sip",
        /// Tunnels of PPP (RFC 2637).
        Pptp = "pptp",
        /// Chat, files sent from one to another.
        Irc = "irc",
    }
}

impl Family {
    /// As nft writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
        }
    }
}

/// A helper of connection tracking; rules give it connections by [`Expr::CtHelper`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Helper {
    /// Of which protocol.
    pub kind: HelperKind,
}

impl Helper {
    /// Transport protocol, and IP versions, as nft writes them.
    pub(crate) const fn carried_by(self) -> (&'static str, &'static str) {
        match self.kind {
            HelperKind::Ftp => ("tcp", "inet"),
            HelperKind::Tftp | HelperKind::Sip => ("udp", "inet"),
            HelperKind::Pptp | HelperKind::Irc => ("tcp", "ip"),
        }
    }
}

/// Connections that are forwarded past the chains between these links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flowtable {
    /// The links.
    pub links: BTreeSet<LinkName>,
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
