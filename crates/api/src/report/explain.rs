//! What becomes of a connection, and why: the question, and the answer that is worked out from a configuration.
//!
//! Guarantees: the answer names each rule by its id and, where it is known, as its owner called it; it prints as text for
//! a person and is the same for a program.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{AskedProtocol, LinkName, ObjectId, Port};

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuestion {
    /// Who opens the connection.
    #[schema(value_type = String, example = "203.0.113.10")]
    pub from: IpAddr,
    /// Whom it is opened to, as the sender writes it: before any translation.
    #[schema(value_type = String, example = "198.51.100.21")]
    pub to: IpAddr,
    /// `tcp`, `udp`, `icmp` (a ping, of either version of IP), or the number of another protocol.
    pub protocol: AskedProtocol,
    /// Destination port; TCP and UDP want one, others have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Source port of TCP or UDP. Default 40000.
    #[serde(default = "from_port")]
    pub from_port: Port,
    /// The link that it comes in by. Default: the one that leads to where it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkName>,
}

fn from_port() -> Port {
    ExplainQuestion::FROM_PORT
}

impl ExplainQuestion {
    /// The source port when none is named.
    pub const FROM_PORT: Port = Port::fixed(40_000);
}

/// What becomes of a connection, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The packet as it comes.
    pub packet: String,
    /// The link that it comes in by; `None` for one that the router sends.
    pub comes_by: Option<LinkName>,
    /// The rules that it matches, in order.
    pub path: Vec<MetRule>,
    /// Where its destination is translated to.
    pub destination: Option<Moved>,
    /// Where its source is translated to.
    pub source: Option<Moved>,
    /// Its end.
    pub verdict: Outcome,
    /// The chain and the rule that decide that; without a rule it is the chain's policy.
    pub decided_by: Option<Decider>,
    /// The balancer that takes what comes to the router, and whether it lets it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balanced: Option<Balanced>,
    /// The tunnel that it goes into or comes out of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// The link that it leaves by.
    pub leaves_by: Option<LinkName>,
    /// The address that it leaves with.
    #[schema(value_type = Option<String>)]
    pub egress_address: Option<IpAddr>,
    /// The packet as it leaves or arrives; `None` for one that is lost.
    pub leaves_as: Option<String>,
    /// What the rules above are to their owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<RuleOwner>,
}

/// A rule that the packet matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MetRule {
    /// Its chain.
    pub chain: String,
    /// Its id.
    pub rule: String,
    /// The ids of the elements of sets and maps by which it matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<String>,
}

/// A translation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Moved {
    /// Where to: an address, with a port if the rule names one.
    pub to: String,
    /// The rule.
    pub by: MetRule,
}

/// Who decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decider {
    /// The chain.
    pub chain: String,
    /// The rule; `None` for the chain's policy.
    pub rule: Option<String>,
    /// The ids of the elements by which it matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<String>,
    /// What that rule is there for, where it belongs to nobody: why nothing let the packet through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
}

/// The balancer's rule that takes a connection: the layer behind the packet rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balanced {
    /// Its id.
    pub rule: ObjectId,
    /// Whether the rule's own list of sources lets the client in.
    pub let_in: bool,
    /// Who may get new clients, if they are well: ids and places.
    pub members: Vec<String>,
}

impl Display for Balanced {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { rule, let_in, members } = self;
        match (let_in, members.as_slice()) {
            (false, _) => write!(f, "balancer {rule} refuses it by its own list of sources"),
            (true, []) => write!(f, "balancer {rule} refuses it, since it has no member"),
            (true, all) => write!(f, "balancer {rule} hands it to one of {}", all.join(", ")),
        }
    }
}

/// A tunnel that a connection is for. What passes a site-to-site tunnel keeps its addresses: source NAT leaves it alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ExplainedTunnel)]
pub struct Tunnel {
    /// `tunnel/ID` of a site-to-site connection, `tunnel-clients/ID` of remote access.
    pub rule: String,
    /// The other end: a peer's or a client's address; `None` for a peer that may come from anywhere.
    pub peer: Option<String>,
    /// Does the connection begin at the other end?
    pub comes_out: bool,
    /// Is the answer that of a tunnel that stands? False where the router said that it does not.
    pub stands: bool,
}

/// How ids of what stands for a tunnel begin: of a site-to-site connection, and of remote access.
pub const TUNNEL: &str = "tunnel";
/// See [`TUNNEL`].
pub const TUNNEL_CLIENTS: &str = "tunnel-clients";

impl Tunnel {
    fn told(&self, called: &str) -> String {
        let whose = if self.is_clients() { "a client of" } else { "the peer of" };
        let peer = self.peer.as_ref().map(|peer| format!(", {peer}")).unwrap_or_default();
        match (self.is_clients(), self.comes_out, self.stands) {
            (_, true, true) => format!("comes out of the tunnel from {whose} {called}{peer}"),
            (_, true, false) => {
                format!(
                    "belongs into the tunnel from {whose} {called}{peer}, and that does not stand now"
                )
            }
            (false, false, true) => format!(
                "goes into the tunnel to {whose} {called}{peer}, with the addresses that it has: source NAT leaves it alone; \
                 while that tunnel does not stand it is refused"
            ),
            (true, false, true) => {
                format!("goes into the tunnel to {whose} {called}{peer}, while that is connected")
            }
            (_, false, false) => {
                format!(
                    "belongs into the tunnel to {whose} {called}{peer}, and that does not stand now"
                )
            }
        }
    }

    fn is_clients(&self) -> bool {
        self.rule.starts_with(TUNNEL_CLIENTS)
    }
}

/// What a rule is to its owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct RuleOwner {
    /// The rule's id, as in the path.
    pub rule: String,
    /// The kind of object that it is made of, such as `firewall rule`.
    pub kind: String,
    /// The object's id.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
}

/// The end of a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ConnectionOutcome)]
pub enum Outcome {
    /// It leaves the router.
    Passes,
    /// It is for the router, and comes to it.
    ForTheRouter,
    /// It is lost, and nobody is told.
    Dropped,
    /// It is lost, and its sender is told.
    Refused,
    /// The router knows no way to where it goes.
    NoWay,
    /// A word of a newer manager.
    #[serde(other)]
    Unknown,
}

impl Explanation {
    /// True when it gets where it goes: nothing loses it, and a balancer that takes it hands it on.
    pub fn passes(&self) -> bool {
        let handed = |balanced: &Balanced| balanced.let_in && !balanced.members.is_empty();
        matches!(self.verdict, Outcome::Passes | Outcome::ForTheRouter)
            && self.balanced.as_ref().is_none_or(handed)
    }

    /// Every rule id that it names, each once.
    pub fn rules(&self) -> Vec<&str> {
        let met = self.path.iter().flat_map(|met| [&met.rule].into_iter().chain(&met.elements));
        let moved = [&self.destination, &self.source].into_iter().flatten();
        let moved = moved.flat_map(|it| [&it.by.rule].into_iter().chain(&it.by.elements));
        let decided = self.decided_by.iter().flat_map(|it| it.rule.iter().chain(&it.elements));
        let tunnel = self.tunnel.iter().map(|tunnel| &tunnel.rule);
        let all = met.chain(moved).chain(decided).chain(tunnel);
        let mut all: Vec<_> = all.map(String::as_str).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The rule with what it is to its owner.
    fn called(&self, rule: &str) -> String {
        match self.objects.iter().find(|object| object.rule == rule) {
            Some(object) => format!("{rule} [{} {}]", object.kind, object.name),
            None => rule.to_owned(),
        }
    }

    fn met(&self, rule: &str, elements: &[String]) -> String {
        let elements: Vec<String> = elements.iter().map(|element| self.called(element)).collect();
        match elements.as_slice() {
            [] => self.called(rule),
            some => format!("{} ({})", self.called(rule), some.join(", ")),
        }
    }

    fn verdict(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verdict {
            Outcome::Passes => "passes",
            Outcome::ForTheRouter => "is for the router and comes to it",
            Outcome::Dropped => "is dropped",
            Outcome::Refused => "is refused",
            Outcome::NoWay => "no route leads there",
            Outcome::Unknown => "ends in a way that this program does not know",
        })?;
        let Some(decider) = &self.decided_by else { return writeln!(f) };
        match &decider.rule {
            Some(rule) => {
                write!(f, " by {} in {}", self.met(rule, &decider.elements), decider.chain)?;
            }
            None => write!(f, " by the policy of {}", decider.chain)?,
        }
        match &decider.meaning {
            Some(meaning) => writeln!(f, ": {meaning}"),
            None => writeln!(f),
        }
    }
}

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.packet)?;
        match &self.comes_by {
            Some(link) => writeln!(f, ", in by {link}")?,
            None => writeln!(f, ", sent by the router")?,
        }
        for step in &self.path {
            writeln!(f, "  {}: {}", step.chain, self.met(&step.rule, &step.elements))?;
        }
        for (what, moved) in [("destination", &self.destination), ("source", &self.source)] {
            if let Some(Moved { to, by }) = moved {
                writeln!(f, "{what} becomes {to} by {}", self.met(&by.rule, &by.elements))?;
            }
        }
        self.verdict(f)?;
        if let Some(tunnel) = &self.tunnel {
            writeln!(f, "{}", tunnel.told(&self.called(&tunnel.rule)))?;
        }
        if let Some(balanced) = &self.balanced {
            writeln!(f, "{balanced}")?;
        }
        if let (Some(link), Some(packet)) = (&self.leaves_by, &self.leaves_as) {
            writeln!(f, "leaves by {link} as {packet}")?;
        }
        Ok(())
    }
}

/// Body of `POST /v1/diagnostics/flows`: which tracked connections. What is left out is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowsRequest {
    /// An end of it, before or after translation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub from: Option<IpAddr>,
    /// Another end of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub to: Option<IpAddr>,
    /// What it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<AskedProtocol>,
    /// The port that it was opened to, or that this was translated to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
}

/// Answer to [`FlowsRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowsReport {
    /// Those that fit, at most [`FlowsReport::MOST`], sorted.
    pub flows: Vec<TrackedFlow>,
    /// How many fit.
    pub total: u64,
}

impl FlowsReport {
    /// Most flows of one answer.
    pub const MOST: usize = 100;
}

/// A connection as the tracking table has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct TrackedFlow {
    /// Its first packet as it came in, such as `tcp 10.1.1.23:40000 > 192.0.2.80:443`.
    pub opened: String,
    /// The answers as they come in.
    pub answered: String,
    /// The address that its destination was translated to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The address that its source was translated to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its mark.
    pub mark: u32,
}

impl Display for TrackedFlow {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.opened)?;
        for (what, moved) in [("destination", &self.destination), ("source", &self.source)] {
            if let Some(to) = moved {
                write!(f, ", {what} became {to}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_as_the_owner_named_it() {
        let met = |chain: &str, rule: &str| MetRule {
            chain: chain.to_owned(),
            rule: rule.to_owned(),
            elements: Vec::new(),
        };
        let told = Explanation {
            packet: "tcp 192.0.2.80:40000 > 198.51.100.11:80".to_owned(),
            comes_by: Some("pub0".parse().unwrap()),
            path: vec![met("fw-198-51-100-11", "firewall/fw-1")],
            destination: Some(Moved {
                to: "10.1.1.23:8080".to_owned(),
                by: MetRule {
                    elements: vec!["forward/pf-1".to_owned()],
                    ..met("nat-prerouting", "nat/forward-tcp")
                },
            }),
            source: None,
            verdict: Outcome::Passes,
            decided_by: Some(Decider {
                chain: "fw-198-51-100-11".to_owned(),
                rule: Some("firewall/fw-1".to_owned()),
                elements: Vec::new(),
                meaning: None,
            }),
            tunnel: None,
            balanced: None,
            leaves_by: Some("guest0".parse().unwrap()),
            egress_address: Some("192.0.2.80".parse().unwrap()),
            leaves_as: Some("tcp 192.0.2.80:40000 > 10.1.1.23:8080".to_owned()),
            objects: vec![RuleOwner {
                rule: "firewall/fw-1".to_owned(),
                kind: "firewall rule".to_owned(),
                id: "fw-1".to_owned(),
                name: "web".to_owned(),
            }],
        };
        let text = "\
tcp 192.0.2.80:40000 > 198.51.100.11:80, in by pub0
  fw-198-51-100-11: firewall/fw-1 [firewall rule web]
destination becomes 10.1.1.23:8080 by nat/forward-tcp (forward/pf-1)
passes by firewall/fw-1 [firewall rule web] in fw-198-51-100-11
leaves by guest0 as tcp 192.0.2.80:40000 > 10.1.1.23:8080
";
        assert_eq!(told.to_string(), text);
        assert_eq!(told.rules(), ["firewall/fw-1", "forward/pf-1", "nat/forward-tcp"]);
    }
}
