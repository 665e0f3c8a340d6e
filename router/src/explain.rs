//! Why a connection passes or does not: what the rules of a configuration make of its first packet.
//!
//! Guarantees: the answer is that of the evaluator which also decides what live connections end with a commit, and which
//! is held against real packets; nothing is touched and nobody asked.
//! Does not: know live connections, a rate limit that is reached, or a member of a balanced address that is down: of
//! several targets it takes the first.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use sluice_agent::{Appliance, Seen};
use sluice_api::RouterDocument;
use sluice_api::config::{Link, LinkRole};
use sluice_api::report::{Decider, ExplainQuestion, Explanation, MetRule, Moved, Outcome};
use sluice_api::types::{AskedProtocol, LinkName, Port};
use sluice_sys::nft::eval::{
    By, Ending, Header, Hit, Judgement, Packet, Tracking, Translation, Ways, evaluate,
};
use sluice_sys::nft::{
    AddressKind, ChainKind, Expr, HookPoint, Protocol, Table, TableId, Verdict as RuleVerdict,
};
use thiserror::Error;

use crate::Router;
use crate::compile::usage;
use crate::lb::explain::balanced;
use crate::vpn::explain as tunnel;

/// Arguments of `sluice-router explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The configuration, JSON
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Who opens the connection
    #[arg(long, value_name = "ADDRESS")]
    from: IpAddr,
    /// Whom it is opened to
    #[arg(long, value_name = "ADDRESS")]
    to: IpAddr,
    /// tcp, udp, icmp (a ping, of either version of IP), or the number of another protocol
    #[arg(long, value_name = "PROTOCOL")]
    proto: AskedProtocol,
    /// Destination port of TCP or UDP
    #[arg(long)]
    port: Option<Port>,
    /// Source port of TCP or UDP
    #[arg(long, value_name = "PORT", default_value_t = ExplainQuestion::FROM_PORT)]
    from_port: Port,
    /// The link that it comes in by [default: the one that leads to where it is from]
    #[arg(long)]
    link: Option<LinkName>,
    /// The answer as JSON
    #[arg(long)]
    pub json: bool,
}

impl ExplainArgs {
    /// What is asked.
    pub fn question(&self) -> ExplainQuestion {
        ExplainQuestion {
            from: self.from,
            to: self.to,
            protocol: self.proto,
            port: self.port,
            from_port: self.from_port,
            link: self.link.clone(),
        }
    }
}

/// A question that makes no sense; never retryable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QuestionError {
    /// TCP or UDP without a port.
    #[error("TCP and UDP want the destination port")]
    PortMissing,
    /// A port where there is none.
    #[error("only TCP and UDP have ports")]
    PortWithout,
    /// One address is IPv4, the other IPv6.
    #[error("the two addresses are of two versions of IP")]
    Versions,
    /// The configuration does not have the link, or it has no address.
    #[error("the configuration has no link {0} with addresses")]
    Link(LinkName),
    /// What the router sends itself comes in by no link.
    #[error("{0} is the router's own: it comes in by no link")]
    OwnAddress(IpAddr),
    /// Nothing says where it comes in.
    #[error("no route leads to {0}: say by which link it comes in")]
    NoRoute(IpAddr),
}

impl QuestionError {
    /// The field at fault.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::PortMissing | Self::PortWithout => "port",
            Self::Versions => "to",
            Self::Link(_) | Self::OwnAddress(_) | Self::NoRoute(_) => "link",
        }
    }
}

/// What a router with `config` in force does with the first packet of a connection, while all its tunnels stand.
pub fn explain(
    config: &RouterDocument,
    question: &ExplainQuestion,
) -> Result<Explanation, QuestionError> {
    explain_seen(config, question, &Seen::new())
}

/// The same while the tunnels in `seen` ([`down_key`](crate::vpn::explain::down_key)) do not stand.
pub fn explain_seen(
    config: &RouterDocument,
    question: &ExplainQuestion,
    seen: &Seen,
) -> Result<Explanation, QuestionError> {
    let desired = Router.desired(config);
    let mut ways = desired.ways();
    let tunnel = tunnel::of(config, question.from, question.to, seen);
    if let Some(tunnel) = &tunnel {
        tunnel::lead(tunnel, &mut ways);
    }
    let packet = packet(config, question, &ways)?;
    let packet = match &tunnel {
        Some(tunnel) => tunnel::inside(tunnel, packet),
        None => packet,
    };
    let mut tables = desired.tables;
    // it judges nothing
    tables.remove(&usage::table_id());
    let judgement = evaluate(&tables, &ways, packet.clone(), Tracking::first(&packet));
    let mut explanation = Explanation { tunnel, ..told(&tables, &packet, &judgement) };
    if let (Outcome::ForTheRouter, Protocol::TCP, Some(port)) =
        (explanation.verdict, packet.protocol, question.port)
    {
        explanation.balanced = balanced(config, question.from, question.to, port);
    }
    Ok(explanation)
}

fn packet(
    config: &RouterDocument,
    question: &ExplainQuestion,
    ways: &Ways,
) -> Result<Packet, QuestionError> {
    let (protocol, header) = carried(question)?;
    let packet = Packet::between(question.from, question.to, protocol, header)
        .ok_or(QuestionError::Versions)?;
    if ways.kind(question.from) == AddressKind::Local {
        return match question.link {
            Some(_) => Err(QuestionError::OwnAddress(question.from)),
            None => Ok(packet),
        };
    }
    let link = match &question.link {
        Some(link) if ways.addresses.contains_key(link) => link.clone(),
        Some(link) => return Err(QuestionError::Link(link.clone())),
        None => entering(config, &packet, ways).ok_or(QuestionError::NoRoute(question.from))?,
    };
    Ok(packet.by(link))
}

fn carried(question: &ExplainQuestion) -> Result<(Protocol, Header), QuestionError> {
    let protocol = question.protocol;
    match question.port {
        Some(port) if protocol.has_ports() => {
            let (source, destination) = (question.from_port.get(), port.get());
            let header = Header::Ports { source, destination, opens: true };
            Ok((Protocol::new(protocol.number()), header))
        }
        Some(_) => Err(QuestionError::PortWithout),
        None if protocol.has_ports() => Err(QuestionError::PortMissing),
        None if protocol != AskedProtocol::ICMP => {
            Ok((Protocol::new(protocol.number()), Header::Other))
        }
        None if question.from.is_ipv4() => Ok((Protocol::ICMP, Header::Icmp { kind: 8, code: 0 })),
        None => Ok((Protocol::ICMPV6, Header::Icmp { kind: 128, code: 0 })),
    }
}

/// From outside it comes in by the public link that has the address; else by the one that leads to where it is from.
fn entering(config: &RouterDocument, packet: &Packet, ways: &Ways) -> Option<LinkName> {
    let leading = leading(packet, ways)?;
    let public = |link: &&Link| link.role == LinkRole::Public;
    let outside = config.links.iter().filter(public).any(|link| link.name == leading);
    let has = |link: &&Link| link.addresses.iter().any(|it| it.ip() == packet.destination);
    let asked = config.links.iter().filter(public).find(has).filter(|_| outside);
    Some(asked.map_or(leading, |link| link.name.clone()))
}

/// The link that an answer would leave by if there were no rules: what is from there comes in by it.
fn leading(packet: &Packet, ways: &Ways) -> Option<LinkName> {
    let answer =
        Packet::between(packet.destination, packet.source, packet.protocol, packet.header)?;
    let tracking = Tracking::first(&answer);
    match evaluate(&BTreeMap::new(), ways, answer, tracking).ending {
        Ending::Sent(link) => Some(link),
        _ => None,
    }
}

fn told(tables: &BTreeMap<TableId, Table>, packet: &Packet, judgement: &Judgement) -> Explanation {
    let (verdict, decided_by) = match &judgement.ending {
        Ending::Here => (Outcome::ForTheRouter, allowing(tables, &judgement.path)),
        Ending::Sent(_) => (Outcome::Passes, allowing(tables, &judgement.path)),
        Ending::Dropped(By::Rule(hit)) => (Outcome::Dropped, Some(decider(hit))),
        Ending::Dropped(By::Policy(_, chain)) => {
            let chain = chain.to_string();
            let decider = Decider { chain, rule: None, elements: Vec::new(), meaning: None };
            (Outcome::Dropped, Some(decider))
        }
        Ending::Refused(_, hit) => (Outcome::Refused, Some(decider(hit))),
        Ending::NoWay => (Outcome::NoWay, None),
    };
    let leaves_by = match &judgement.ending {
        Ending::Sent(link) => Some(link.clone()),
        _ => None,
    };
    Explanation {
        packet: words(packet),
        comes_by: packet.iif.clone(),
        // a rule whose map has nothing for the packet counts it, and does no more
        path: judgement.path.iter().filter(|hit| hit.whole).map(met).collect(),
        destination: judgement.destination.as_ref().map(moved),
        source: judgement.source.as_ref().map(moved),
        verdict,
        decided_by,
        balanced: None,
        tunnel: None,
        egress_address: leaves_by.as_ref().map(|_| judgement.packet.source),
        leaves_by,
        leaves_as: judgement.ending.passes().then(|| words(&judgement.packet)),
        objects: Vec::new(),
    }
}

/// The rule that let it through the chains where that is decided: the last one that could.
fn allowing(tables: &BTreeMap<TableId, Table>, path: &[Hit]) -> Option<Decider> {
    let (mut hook, mut last) = (None, None);
    for hit in path {
        let chain = tables.get(&hit.table)?.chains.get(&hit.chain)?;
        // rules of chains without a hook of their own belong to the last that has one
        hook = chain.hook.or(hook);
        let decides = hook.is_some_and(|hook| {
            use HookPoint::{Forward, Input, Output};
            hook.kind == ChainKind::Filter && matches!(hook.point, Forward | Input | Output)
        });
        let allows = chain.rules.get(hit.place).and_then(|rule| rule.exprs.last());
        let allows = matches!(allows, Some(Expr::Verdict(RuleVerdict::Accept) | Expr::Vmap(..)));
        if decides && allows && hit.whole {
            last = Some(hit);
        }
    }
    last.map(decider)
}

fn decider(hit: &Hit) -> Decider {
    let MetRule { chain, rule, elements } = met(hit);
    let meaning = meaning(&rule).map(str::to_owned);
    Decider { chain, rule: Some(rule), elements, meaning }
}

fn met(hit: &Hit) -> MetRule {
    let elements = hit.elements.iter().map(ToString::to_string).collect();
    MetRule { chain: hit.chain.to_string(), rule: hit.rule.to_string(), elements }
}

fn moved(translation: &Translation) -> Moved {
    let (address, port) = translation.to;
    Moved { to: end(address, port), by: met(&translation.by) }
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (_, None) => address.to_string(),
        (IpAddr::V4(_), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(_), Some(port)) => format!("[{address}]:{port}"),
    }
}

fn words(packet: &Packet) -> String {
    let (source, destination) = match packet.header {
        Header::Ports { source, destination, .. } => (Some(source), Some(destination)),
        _ => (None, None),
    };
    let (source, destination) = (end(packet.source, source), end(packet.destination, destination));
    let carried = match packet.protocol {
        Protocol::ICMP | Protocol::ICMPV6 => "ping".to_owned(),
        Protocol::TCP | Protocol::UDP => packet.protocol.to_string(),
        other => format!("protocol {other}"),
    };
    format!("{carried} {source} > {destination}")
}

/// What a rule is there for that is in every router, where it decides against a packet.
fn meaning(rule: &str) -> Option<&'static str> {
    MEANINGS.iter().find(|(id, _)| *id == rule).map(|(_, meaning)| *meaning)
}

const LIES: &str = "it comes by a public or private link, from an address of a guest network";

const MEANINGS: &[(&str, &str)] = &[
    ("acl/no-egress-rule", "the list has egress rules, and none of them allows this"),
    ("acl/no-ingress-rule", "no ingress rule of the list allows this"),
    (
        "acl/not-translated",
        "it comes from outside for an inside address, and nothing translated it",
    ),
    ("acl/nothing-passes", "it has no access control list, so nothing comes in"),
    (
        "forward/drop",
        "nothing lets it through; a network whose policy is deny has no rule for it, or one without source NAT no \
         address outside for this guest",
    ),
    ("forward/invalid", "it fits no connection"),
    (
        "forward/no-address",
        "its network has no source NAT, and no address outside stands for this guest",
    ),
    ("forward/not-let-in", "no firewall rule of the public address lets it in"),
    ("forward/not-let-in-v6", "no IPv6 firewall rule of the network lets it in"),
    ("forward/spoofed", LIES),
    ("input/balanced-not-let-in", "no firewall rule of the balanced address lets it in"),
    ("input/drop", "it is for the router itself, which serves nothing there to whoever sent it"),
    ("input/invalid", "it fits no connection"),
    ("input/spoofed", LIES),
    (
        "input/esp",
        "ESP comes in to an address with remote access or a connection whose peer may be anywhere",
    ),
    ("input/esp-peer", "ESP comes in from a peer"),
    (
        "input/ike",
        "IKE comes in to an address with remote access or a connection whose peer may be anywhere",
    ),
    ("input/ike-peer", "IKE comes in from a peer"),
    ("ipv6/foreign-source", "its source is no address of the network that it comes from"),
    (
        "vpn/client-elsewhere",
        "it is from a client of remote access, for what that is not meant to reach: neither a network of it, nor the \
         Internet where clients may go there",
    ),
    (
        "vpn/client-to-guests",
        "it is from a client of remote access, for a network that clients reach",
    ),
    ("vpn/client-to-internet", "it is from a client of remote access that may reach the Internet"),
    ("vpn/from-peer", "it comes out of a tunnel, for a network that the peer reaches"),
    (
        "vpn/guest-to-client",
        "it is for a client of remote access, from a network that clients reach",
    ),
    (
        "vpn/no-tunnel",
        "it is for a network behind a peer, and no tunnel to that stands: it does not leave without one",
    ),
    (
        "vpn/not-by-tunnel",
        "its source is in a network behind a peer, and it did not come out of a tunnel",
    ),
    (
        "vpn/spoofed",
        "it is from a client of remote access, with an address that is not that client's",
    ),
    ("vpn/to-peer", "it goes into a tunnel, for a network behind the peer"),
];
