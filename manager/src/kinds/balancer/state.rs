//! What a rule's router says of it, a line for the rule and one for each member.
//!
//! Membership is what was asked for, health is what was observed: a member that the router does not report yet is listed
//! as well.

use serde_json::{Map, Value, json};
use sluice_api::config::Traffic;
use sluice_api::config::balancer::Mode;
use sluice_api::report::balancing::{Counts, MemberReport, Report, RuleReport};
use sluice_api::types::{Cidr, Port, PortRange};

use super::Balancer;
use crate::error::Error;
use crate::kinds::balancer_member::BalancerMember;
use crate::kinds::firewall_rule::FirewallRule;
use crate::kinds::network::Network;
use crate::kinds::public_ip::PublicIp;
use crate::kinds::{Column, Context, rule};

/// The columns of `sluice balancer state`.
pub(super) const COLUMNS: &[Column] = &[
    ("NAME", "/name"),
    ("ADDRESS", "/address"),
    ("STATE", "/state"),
    ("NOW", "/connections"),
    ("SESSIONS", "/sessions"),
    ("PER SECOND", "/rate"),
    ("BYTES IN", "/bytes_in"),
    ("BYTES OUT", "/bytes_out"),
    ("ERRORS", "/errors"),
    ("LETS IN", "/lets_in"),
    ("TROUBLE", "/trouble"),
];

/// What is said of a rule or member that the router does not report.
const UNKNOWN: &str = "not in force yet";

/// The lines of `balancer`.
pub(super) async fn rows(
    balancer: &Balancer,
    context: &mut Context<'_>,
    report: &Value,
) -> Result<Vec<Value>, Error> {
    let report: Report = serde_json::from_value(report.clone()).unwrap_or_default();
    let told = report.rules.into_iter().find(|it| it.id == balancer.id);
    let members = context.all::<BalancerMember>(&[("balancer", balancer.id.as_str())]).await?;
    let mut rows = vec![of_rule(balancer, context, told.as_ref(), members.len()).await?];
    for member in &members {
        let known = told.iter().flat_map(|told| &told.members).find(|it| it.id == member.id);
        let address = rule::guest_address(context.conn, &member.guest, &member.network).await?;
        let port = member.port.or(balancer.private_port).unwrap_or(balancer.port);
        rows.push(of_member(balancer, member, format!("{address}:{port}"), known));
    }
    Ok(rows)
}

async fn of_rule(
    balancer: &Balancer,
    context: &mut Context<'_>,
    told: Option<&RuleReport>,
    members: usize,
) -> Result<Value, Error> {
    let address = match &balancer.public_ip {
        Some(ip) => context.get::<PublicIp>(ip).await?.address.to_string(),
        None => balancer.address.map(|address| address.to_string()).unwrap_or_default(),
    };
    let unknown = || format!("members {members}, {UNKNOWN}");
    let mut row = counted(told.map(|told| &told.counts));
    row.extend([
        ("name".to_owned(), json!(balancer.name)),
        ("id".to_owned(), json!(balancer.id)),
        ("address".to_owned(), json!(format!("{address}:{}", balancer.port))),
        ("state".to_owned(), json!(told.map_or_else(unknown, RuleReport::health))),
        ("lets_in".to_owned(), json!(lets_in(balancer, context).await?)),
    ]);
    Ok(Value::Object(row))
}

fn of_member(
    balancer: &Balancer,
    member: &BalancerMember,
    address: String,
    told: Option<&MemberReport>,
) -> Value {
    let mut row = counted(told.map(|told| &told.counts));
    row.extend([
        ("name".to_owned(), json!(format!("{}/{}", balancer.name, member.name))),
        ("id".to_owned(), json!(member.id)),
        ("address".to_owned(), json!(address)),
        ("state".to_owned(), json!(told.map_or(UNKNOWN, MemberReport::state))),
        ("trouble".to_owned(), json!(told.and_then(|told| told.health.trouble.as_ref()))),
    ]);
    Value::Object(row)
}

fn counted(counts: Option<&Counts>) -> Map<String, Value> {
    let Some(counts) = counts else { return Map::new() };
    let errors = counts.connect_errors + counts.response_errors + counts.no_member;
    let [rate, ..] = counts.session_rate;
    Map::from_iter([
        ("connections".to_owned(), json!(counts.current)),
        ("sessions".to_owned(), json!(counts.sessions)),
        ("rate".to_owned(), json!(rate)),
        ("requests".to_owned(), json!(counts.requests)),
        ("bytes_in".to_owned(), json!(counts.bytes_in)),
        ("bytes_out".to_owned(), json!(counts.bytes_out)),
        ("errors".to_owned(), json!(errors)),
    ])
}

/// Who gets to the rule: whom its address's firewall lets in **and** its own list names. In a VPC, where the lists of the
/// members' tiers decide, its own list is told alone.
async fn lets_in(balancer: &Balancer, context: &mut Context<'_>) -> Result<String, Error> {
    let own = &balancer.sources;
    let within = match (&balancer.public_ip, &balancer.network) {
        (Some(ip), _) => {
            let address: PublicIp = context.get(ip).await?;
            if address.vpc.is_some() {
                return Ok(format!("{}, as the tiers' lists say", told(own)));
            }
            by_firewall(balancer, context, ip).await?
        }
        (None, Some(network)) => {
            let network: Network = context.get(network).await?;
            if network.vpc.is_some() {
                return Ok(format!("{}, as the tiers' lists say", told(own)));
            }
            vec![network.cidr]
        }
        (None, None) => Vec::new(),
    };
    let effective = narrowed(&within, own);
    Ok(if effective.is_empty() { "nobody".to_owned() } else { told(&effective) })
}

/// Whom the firewall of a public address lets in to the rule's port.
async fn by_firewall(
    balancer: &Balancer,
    context: &mut Context<'_>,
    ip: &sluice_api::types::ObjectId,
) -> Result<Vec<Cidr>, Error> {
    let mut let_in = Vec::new();
    for rule in context.all::<FirewallRule>(&[("public_ip", ip.as_str())]).await? {
        if !is_about(&rule.traffic()?, balancer.mode, balancer.port) {
            continue;
        }
        if rule.sources.is_empty() {
            return Ok(vec![Cidr::everything(std::net::Ipv4Addr::UNSPECIFIED.into())]);
        }
        let_in.extend(rule.sources);
    }
    Ok(let_in)
}

fn is_about(traffic: &Traffic, mode: Mode, port: Port) -> bool {
    let among = |ports: &Option<PortRange>| {
        ports.is_none_or(|ports| ports.first() <= port && port <= ports.last())
    };
    match traffic {
        Traffic::All {} => true,
        Traffic::Tcp { ports } => mode != Mode::Udp && among(ports),
        Traffic::Udp { ports } => mode == Mode::Udp && among(ports),
        Traffic::Protocol { number } => *number == if mode == Mode::Udp { 17 } else { 6 },
        Traffic::Icmp { .. } => false,
    }
}

/// What both name; an empty `own` names everybody.
fn narrowed(within: &[Cidr], own: &[Cidr]) -> Vec<Cidr> {
    if own.is_empty() {
        return within.to_vec();
    }
    let both = |a: &Cidr, b: &Cidr| match (holds(a, b), holds(b, a)) {
        (true, _) => Some(*b),
        (_, true) => Some(*a),
        _ => None,
    };
    let pairs = within.iter().flat_map(|a| own.iter().filter_map(move |b| both(a, b)));
    let mut all: Vec<Cidr> = pairs.collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn holds(outer: &Cidr, inner: &Cidr) -> bool {
    outer.contains(inner.network()) && outer.contains(inner.last())
}

fn told(networks: &[Cidr]) -> String {
    let everybody = |cidr: &Cidr| cidr.prefix() == 0;
    if networks.is_empty() || networks.iter().any(everybody) {
        return "everybody".to_owned();
    }
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<Cidr> {
        text.split_whitespace().map(|part| part.parse().unwrap()).collect()
    }

    #[test]
    fn the_effective_set_is_what_both_lists_name() {
        for (firewall, own, both) in [
            ("0.0.0.0/0", "", "0.0.0.0/0"),
            ("0.0.0.0/0", "192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.0/25", "192.0.2.0/24 198.51.100.0/24", "192.0.2.0/25"),
            ("192.0.2.0/24", "198.51.100.0/24", ""),
            ("192.0.2.0/24 198.51.100.7/32", "0.0.0.0/0", "192.0.2.0/24 198.51.100.7/32"),
        ] {
            assert_eq!(narrowed(&list(firewall), &list(own)), list(both), "{firewall} and {own}");
        }
    }
}
