//! The base chains of a router and the slots in them: the one place that says where rules stand.
//!
//! A subsystem puts its rules into slots and knows nothing of the others. Within a chain the slots are evaluated in the
//! order in which they stand here; within a slot fragments stand in the order in which `compile` lists them.

use sluice_agent::fragment;
use sluice_sys::nft::{ChainKind, Hook, HookPoint, Policy};

/// Before connection tracking.
const RAW: i32 = -300;
/// After connection tracking and before translation: where iptables has its mangle table.
const MARK: i32 = -150;
/// Where iptables has destination NAT.
const DESTINATION: i32 = -100;
/// Where iptables has its filter table.
const FILTER: i32 = 0;
/// Where iptables has source NAT.
const SOURCE: i32 = 100;

/// Where a rule of a router stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// `raw-prerouting`: connections that are not tracked.
    Untracked,
    /// `mark-prerouting`: marks that the connection has come back to the packet.
    MarkRestored,
    /// `mark-prerouting`: new connections are classed, by the link they came in by or otherwise.
    MarkNew,
    /// `mark-prerouting`: helpers of connection tracking are given connections.
    Helpers,
    /// `mark-output`: what this machine sends is classed, and routed again.
    MarkSent,
    /// `nat-prerouting`: guests with a public address of their own.
    StaticIn,
    /// `nat-prerouting`: public ports that lead to guests.
    Forwards,
    /// `nat-prerouting`: public ports that lead to one of several.
    Balanced,
    /// `nat-output`: what this machine sends to its own public addresses.
    SentTranslated,
    /// `filter-input`: loopback, answers, what fits no connection, neighbours.
    InputFirst,
    /// `filter-input`: the API.
    InputControl,
    /// `filter-input`: balanced addresses and ports; before services for guests, whose ports they may have.
    InputBalanced,
    /// `filter-input`: services for guests.
    InputGuests,
    /// `filter-input`: services for the outside, such as balancers and tunnels.
    InputPublic,
    /// `filter-input`: what the firewall lets in to a public address itself.
    InputPolicy,
    /// `filter-input`: the rest is lost.
    InputLast,
    /// `filter-forward`: sizes, answers, what fits no connection.
    ForwardFirst,
    /// `filter-forward`: through tunnels.
    ForwardTunnels,
    /// `filter-forward`: firewall and access control lists.
    ForwardPolicy,
    /// `filter-forward`: what guests may open to the outside.
    ForwardEgress,
    /// `filter-forward`: the rest is lost.
    ForwardLast,
    /// `filter-output`: what services may not send.
    Output,
    /// `nat-postrouting`: what keeps its source, such as packets into tunnels.
    SourceKept,
    /// `nat-postrouting`: answers to guests that went through the router to a public address of it; guests with a public
    /// address of their own.
    SourceStatic,
    /// `nat-postrouting`: everybody else of a network.
    SourceNetworks,
}

const fn hook(kind: ChainKind, point: HookPoint, priority: i32, policy: Policy) -> Hook {
    Hook { kind, point, priority, policy }
}

impl fragment::Slot for Slot {
    const CHAINS: &'static [(&'static str, Hook)] = {
        use ChainKind::{Filter, Nat, Route};
        use HookPoint::{Forward, Input, Output, Postrouting, Prerouting};
        use Policy::{Accept, Drop};
        &[
            ("raw-prerouting", hook(Filter, Prerouting, RAW, Accept)),
            ("mark-prerouting", hook(Filter, Prerouting, MARK, Accept)),
            ("mark-output", hook(Route, Output, MARK, Accept)),
            ("nat-prerouting", hook(Nat, Prerouting, DESTINATION, Accept)),
            ("nat-output", hook(Nat, Output, DESTINATION, Accept)),
            ("filter-input", hook(Filter, Input, FILTER, Drop)),
            ("filter-forward", hook(Filter, Forward, FILTER, Drop)),
            ("filter-output", hook(Filter, Output, FILTER, Accept)),
            ("nat-postrouting", hook(Nat, Postrouting, SOURCE, Accept)),
        ]
    };

    fn chain(self) -> &'static str {
        match self {
            Self::Untracked => "raw-prerouting",
            Self::MarkRestored | Self::MarkNew | Self::Helpers => "mark-prerouting",
            Self::MarkSent => "mark-output",
            Self::StaticIn | Self::Forwards | Self::Balanced => "nat-prerouting",
            Self::SentTranslated => "nat-output",
            Self::InputFirst
            | Self::InputControl
            | Self::InputBalanced
            | Self::InputGuests
            | Self::InputPublic
            | Self::InputPolicy
            | Self::InputLast => "filter-input",
            Self::ForwardFirst
            | Self::ForwardTunnels
            | Self::ForwardPolicy
            | Self::ForwardEgress
            | Self::ForwardLast => "filter-forward",
            Self::Output => "filter-output",
            Self::SourceKept | Self::SourceStatic | Self::SourceNetworks => "nat-postrouting",
        }
    }
}
