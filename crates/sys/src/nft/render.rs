//! nft script text of expressions, rules and elements.

use std::fmt::{self, Display, Formatter, Write as _};

use std::net::IpAddr;

use sluice_api::types::{Cidr, Port};

use super::{
    ChainKind, CtState, Element, ElementValue, Expr, Family, Hook, HookPoint, IcmpType, Key, L4,
    LinkSelector, MarkPlace, MarkValue, Net, Per, Policy, Ports, RejectWith, Rule, SetType,
    TableId, Verdict,
};

/// Writes `items` with `separator` between them.
pub(super) fn joined<T: Display>(items: impl IntoIterator<Item = T>, separator: &str) -> String {
    let mut text = String::new();
    for (position, item) in items.into_iter().enumerate() {
        let gap = if position == 0 { "" } else { separator };
        // writing to a String cannot fail
        let _ = write!(text, "{gap}{item}");
    }
    text
}

/// One value as it is, several in braces.
fn one_or_set<T: Display>(items: impl ExactSizeIterator<Item = T>) -> String {
    if items.len() == 1 { joined(items, "") } else { format!("{{ {} }}", joined(items, ", ")) }
}

impl Display for TableId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Family::Inet = self.family;
        write!(f, "inet {}", self.name)
    }
}

impl Family {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
        }
    }
}

impl Display for Hook {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (kind, point, policy) = (self.kind.as_str(), self.point.as_str(), self.policy.as_str());
        write!(f, "type {kind} hook {point} priority {}; policy {policy};", self.priority)
    }
}

impl ChainKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }
}

impl HookPoint {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }
}

impl Policy {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
        }
    }
}

impl SetType {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "ifname",
            Self::Ipv4 => "ipv4_addr",
            Self::L4 => "inet_proto",
            Self::Port => "inet_service",
            Self::Verdict => "verdict",
        }
    }
}

impl L4 {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl CtState {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Related => "related",
            Self::New => "new",
            Self::Invalid => "invalid",
        }
    }
}

impl IcmpType {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::EchoRequest | Self::EchoRequestV6 => "echo-request",
            Self::RouterAdvertisement => "nd-router-advert",
            Self::NeighbourSolicitation => "nd-neighbor-solicit",
            Self::NeighbourAdvertisement => "nd-neighbor-advert",
        }
    }

    /// The protocol that the type belongs to.
    pub(super) const fn protocol(self) -> &'static str {
        match self {
            Self::EchoRequest => "icmp",
            _ => "icmpv6",
        }
    }
}

impl Key {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Iif => "iifname",
            Self::Oif => "oifname",
            Self::SourceV4 => "ip saddr",
            Self::DestinationV4 => "ip daddr",
            Self::L4 => "meta l4proto",
            Self::DestinationPort => "th dport",
            Self::CtState => "ct state",
        }
    }
}

fn keys(keys: &[Key]) -> String {
    joined(keys.iter().map(|key| key.as_str()), " . ")
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl Display for Ports {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(port) => write!(f, "{port}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl Display for LinkSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(link) => write!(f, "\"{link}\""),
            Self::Loopback => f.write_str("\"lo\""),
            Self::Set(set) => write!(f, "@{set}"),
        }
    }
}

impl Net {
    fn is_ipv4(&self) -> bool {
        match self {
            Self::Cidr(cidr) => cidr.is_ipv4(),
            Self::Host(host) => host.is_ipv4(),
        }
    }

    /// `ip` or `ip6`.
    pub(super) fn family(&self) -> &'static str {
        if self.is_ipv4() { "ip" } else { "ip6" }
    }

    /// True when the prefix covers exactly one address, which nft lists without its length.
    pub(super) fn single(cidr: &Cidr) -> bool {
        cidr.prefix() == if cidr.is_ipv4() { 32 } else { 128 }
    }
}

impl Display for Net {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cidr(cidr) => write!(f, "{cidr}"),
            Self::Host(host) => write!(f, "{host}"),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iif(link) => write!(f, "iifname {link}"),
            Self::Oif(link) => write!(f, "oifname {link}"),
            Self::Source(net) => write!(f, "{} saddr {net}", net.family()),
            Self::Destination(net) => write!(f, "{} daddr {net}", net.family()),
            Self::CtState(states) => {
                write!(f, "ct state {}", joined(states.iter().map(|s| s.as_str()), ","))
            }
            Self::CtDnat => f.write_str("ct status dnat"),
            Self::L4(protocols) => {
                write!(f, "meta l4proto {}", one_or_set(protocols.iter().map(|p| p.as_str())))
            }
            Self::DestinationPort(l4, ports) => write!(f, "{} dport {ports}", l4.as_str()),
            Self::SourcePort(l4, ports) => write!(f, "{} sport {ports}", l4.as_str()),
            Self::AnyDestinationPort(ports) => write!(f, "th dport {ports}"),
            Self::Icmp(types) => {
                let protocol = types.first().map_or("icmp", |first| first.protocol());
                write!(f, "{protocol} type {}", one_or_set(types.iter().map(|t| t.as_str())))
            }
            Self::ToSelf => f.write_str("fib daddr type local"),
            Self::Mark { mask, value } => write!(f, "meta mark & {mask:#x} == {value:#x}"),
            Self::In(key, set) => write!(f, "{} @{set}", keys(key)),
            Self::Vmap(key, map) => write!(f, "{} vmap @{map}", keys(key)),
            Self::Snat(address) => write!(f, "snat ip to {address}"),
            Self::SnatMap(key, map) => write!(f, "snat ip to {} map @{map}", keys(key)),
            Self::DnatMap(key, map) => write!(f, "dnat ip to {} map @{map}", keys(key)),
            Self::ClampMss => f.write_str("tcp flags syn tcp option maxseg size set rt mtu"),
            Self::NoReturnPath => f.write_str("fib saddr . iif oif missing"),
            Self::Limit { rate, per, burst } => {
                write!(f, "limit rate {rate}/{} burst {burst} packets", per.as_str())
            }
            Self::ConnectionMark { mask, value } => write!(f, "ct mark & {mask:#x} == {value:#x}"),
            Self::SetMark(place, value) => write!(f, "{} mark set {value}", place.as_str()),
            Self::Dnat(to, port) => dnat(f, *to, *port),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Redirect(port) => write!(f, "redirect to :{port}"),
            Self::Log { prefix, group: None } => write!(f, "log prefix \"{prefix} \""),
            Self::Log { prefix, group: Some(group) } => {
                write!(f, "log prefix \"{prefix} \" group {group}")
            }
            Self::Reject(with) => write!(f, "reject with {}", with.as_str()),
            Self::Counter => f.write_str("counter"),
            Self::Verdict(verdict) => write!(f, "{verdict}"),
        }
    }
}

fn dnat(f: &mut Formatter<'_>, to: IpAddr, port: Option<Port>) -> fmt::Result {
    match (to, port) {
        (IpAddr::V4(to), None) => write!(f, "dnat ip to {to}"),
        (IpAddr::V4(to), Some(port)) => write!(f, "dnat ip to {to}:{port}"),
        (IpAddr::V6(to), None) => write!(f, "dnat ip6 to {to}"),
        (IpAddr::V6(to), Some(port)) => write!(f, "dnat ip6 to [{to}]:{port}"),
    }
}

impl Per {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }
}

impl MarkPlace {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Packet => "meta",
            Self::Connection => "ct",
        }
    }
}

impl RejectWith {
    const fn as_str(self) -> &'static str {
        match self {
            Self::TcpReset => "tcp reset",
            Self::AdminProhibited => "icmpx admin-prohibited",
            Self::PortUnreachable => "icmpx port-unreachable",
        }
    }
}

impl Display for MarkValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number:#x}"),
            Self::Copy(from) => write!(f, "{} mark", from.as_str()),
            Self::Masked(from, mask) => write!(f, "{} mark & {mask:#x}", from.as_str()),
            Self::Replaced { from, mask, value } => {
                write!(f, "{} mark & {:#x} | {value:#x}", from.as_str(), !mask)
            }
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} comment \"{}\"", joined(&self.exprs, " "), self.id)
    }
}

impl Display for ElementValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(link) => write!(f, "\"{link}\""),
            Self::Ipv4(address) => write!(f, "{address}"),
            Self::L4(protocol) => f.write_str(protocol.as_str()),
            Self::Port(port) => write!(f, "{port}"),
            Self::Verdict(verdict) => write!(f, "{verdict}"),
        }
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&joined(&self.0, " . "))
    }
}

/// `type a . b` of a set, or `type a . b : c` of a map.
pub(super) fn set_type(key: &[SetType], value: &[SetType]) -> String {
    let names = |types: &[SetType]| joined(types.iter().map(|part| part.as_str()), " . ");
    if value.is_empty() { names(key) } else { format!("{} : {}", names(key), names(value)) }
}
