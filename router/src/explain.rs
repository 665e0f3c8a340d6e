//! Why a connection passes or does not: what the rules of a configuration make of its first packet.
//!
//! Guarantees: the answer is that of the evaluator which also decides what live connections end with a commit, and which
//! is held against real packets; nothing is touched and nobody asked.
//! Does not: know live connections, a rate limit that is reached, or a member of a balanced address that is down: of
//! several targets it takes the first.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use sluice_agent::Appliance;
use sluice_api::RouterDocument;
use sluice_api::types::LinkName;
use sluice_sys::nft::eval::{
    By, Ending, Header, Hit, Judgement, Packet, Tracking, Translation, Ways, evaluate,
};
use sluice_sys::nft::{
    AddressKind, ChainKind, Expr, HookPoint, Protocol, Table, TableId, Verdict as RuleVerdict,
};

use crate::{Router, desk};

/// Arguments of `sluice-router explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The configuration, JSON
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    question: Question,
    /// The answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// The first packet of a connection.
#[derive(Clone, Debug, Args)]
pub struct Question {
    /// Who opens the connection
    #[arg(long, value_name = "ADDRESS")]
    pub from: IpAddr,
    /// Whom it is opened to
    #[arg(long, value_name = "ADDRESS")]
    pub to: IpAddr,
    /// tcp, udp, icmp (a ping, of either version of IP), or the number of another protocol
    #[arg(long, value_name = "PROTOCOL")]
    pub proto: Asked,
    /// Destination port of TCP or UDP
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Source port of TCP or UDP
    #[arg(long, value_name = "PORT", default_value_t = 40_000,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub from_port: u16,
    /// The link that it comes in by [default: the one that leads to where it is from]
    #[arg(long)]
    pub link: Option<LinkName>,
}

/// What is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// An echo request of ICMP or ICMPv6.
    Ping,
    /// Another protocol, by number.
    Number(u8),
}

impl FromStr for Asked {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "icmp" => Ok(Self::Ping),
            _ => match text.parse() {
                Ok(6) => Ok(Self::Tcp),
                Ok(17) => Ok(Self::Udp),
                Ok(1 | 58) => Ok(Self::Ping),
                Ok(number) => Ok(Self::Number(number)),
                Err(_) => Err("neither tcp, udp, icmp nor a number up to 255"),
            },
        }
    }
}

/// What becomes of a connection, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The packet as it comes.
    pub packet: String,
    /// The link that it comes in by; `None` for one that the router sends.
    pub comes_by: Option<LinkName>,
    /// The rules that it matches, in order.
    pub path: Vec<Met>,
    /// Where its destination is translated to.
    pub destination: Option<Moved>,
    /// Where its source is translated to.
    pub source: Option<Moved>,
    /// Its end.
    pub verdict: Outcome,
    /// The chain and the rule that decide that; without a rule it is the chain's policy.
    pub decided_by: Option<Decider>,
    /// The link that it leaves by.
    pub leaves_by: Option<LinkName>,
    /// The address that it leaves with.
    pub egress_address: Option<IpAddr>,
    /// The packet as it leaves or arrives; `None` for one that is lost.
    pub leaves_as: Option<String>,
}

/// A rule that the packet matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Met {
    /// Its chain.
    pub chain: String,
    /// Its id.
    pub rule: String,
    /// The ids of the elements of sets and maps by which it matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<String>,
}

/// A translation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Where to: an address, with a port if the rule names one.
    pub to: String,
    /// The rule.
    pub by: Met,
}

/// Who decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decider {
    /// The chain.
    pub chain: String,
    /// The rule; `None` for the chain's policy.
    pub rule: Option<String>,
    /// The ids of the elements by which it matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<String>,
}

/// The end of a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
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
}

/// Answers what the command line asks. Errors: the configuration is not sound, the question makes no sense.
pub fn answer(args: &ExplainArgs) -> Result<Explanation> {
    explain(&desk::load_sound(&args.config)?, &args.question)
}

/// What a router with `config` in force does with the first packet of a connection.
///
/// Errors: addresses of two versions of IP, TCP or UDP without a port, a link that there is not.
pub fn explain(config: &RouterDocument, question: &Question) -> Result<Explanation> {
    let desired = Router.desired(config);
    let ways = desired.ways();
    let packet = packet(question, &ways)?;
    let judgement = evaluate(&desired.tables, &ways, packet.clone(), Tracking::first(&packet));
    Ok(told(&desired.tables, &packet, &judgement))
}

fn packet(question: &Question, ways: &Ways) -> Result<Packet> {
    let v4 = question.from.is_ipv4();
    let ports = |protocol| match question.port {
        Some(destination) => {
            let source = question.from_port;
            Ok((protocol, Header::Ports { source, destination, opens: true }))
        }
        None => bail!("TCP and UDP want the destination port, --port"),
    };
    let (protocol, header) = match question.proto {
        Asked::Tcp => ports(Protocol::TCP)?,
        Asked::Udp => ports(Protocol::UDP)?,
        Asked::Ping if v4 => (Protocol::ICMP, Header::Icmp { kind: 8, code: 0 }),
        Asked::Ping => (Protocol::ICMPV6, Header::Icmp { kind: 128, code: 0 }),
        Asked::Number(number) => (Protocol::new(number), Header::Other),
    };
    if question.port.is_some() && !protocol.has_ports() {
        bail!("only TCP and UDP have ports");
    }
    let packet = Packet::between(question.from, question.to, protocol, header)
        .context("the two addresses are of two versions of IP")?;
    if ways.kind(question.from) == AddressKind::Local {
        if question.link.is_some() {
            bail!("{} is the router's own: it comes in by no link", question.from);
        }
        return Ok(packet);
    }
    let link = match &question.link {
        Some(link) if ways.addresses.contains_key(link) => link.clone(),
        Some(link) => bail!("the configuration has no link {link} with addresses"),
        None => leading(&packet, ways).with_context(|| {
            format!("no route leads to {}: say with --link where it comes in", question.from)
        })?,
    };
    Ok(packet.by(link))
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
            (Outcome::Dropped, Some(Decider { chain, rule: None, elements: Vec::new() }))
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
        egress_address: leaves_by.as_ref().map(|_| judgement.packet.source),
        leaves_by,
        leaves_as: judgement.ending.passes().then(|| words(&judgement.packet)),
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
    let Met { chain, rule, elements } = met(hit);
    Decider { chain, rule: Some(rule), elements }
}

fn met(hit: &Hit) -> Met {
    let elements = hit.elements.iter().map(ToString::to_string).collect();
    Met { chain: hit.chain.to_string(), rule: hit.rule.to_string(), elements }
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

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.packet)?;
        match &self.comes_by {
            Some(link) => writeln!(f, ", in by {link}")?,
            None => writeln!(f, ", sent by the router")?,
        }
        for step in &self.path {
            writeln!(f, "  {step}")?;
        }
        for (what, moved) in [("destination", &self.destination), ("source", &self.source)] {
            if let Some(moved) = moved {
                writeln!(f, "{what} becomes {} by {}", moved.to, moved.by.rule)?;
            }
        }
        f.write_str(match self.verdict {
            Outcome::Passes => "passes",
            Outcome::ForTheRouter => "is for the router and comes to it",
            Outcome::Dropped => "is dropped",
            Outcome::Refused => "is refused",
            Outcome::NoWay => "no route leads there",
        })?;
        match &self.decided_by {
            Some(Decider { chain, rule: Some(rule), elements }) => {
                write!(f, " by {rule} in {chain}")?;
                if !elements.is_empty() {
                    write!(f, " ({})", elements.join(", "))?;
                }
            }
            Some(Decider { chain, rule: None, .. }) => write!(f, " by the policy of {chain}")?,
            None => {}
        }
        writeln!(f)?;
        if let (Some(link), Some(packet)) = (&self.leaves_by, &self.leaves_as) {
            writeln!(f, "leaves by {link} as {packet}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.chain, self.rule)?;
        if !self.elements.is_empty() {
            write!(f, " ({})", self.elements.join(", "))?;
        }
        Ok(())
    }
}
