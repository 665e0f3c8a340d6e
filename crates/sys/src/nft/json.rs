//! What `nft -j list` prints for our expressions, and the form in which two such listings are compared.

use std::net::IpAddr;

use serde_json::{Value, json};
use sluice_api::types::Port;

use super::{
    CtState, Expr, IcmpType, Key, L4, LinkSelector, MarkPlace, MarkValue, Net, Ports, RejectWith,
    Rule, Verdict,
};

impl Rule {
    /// The rule as the kernel's listing has it, in comparable form.
    pub(super) fn listed(&self) -> Value {
        let mut exprs = Vec::new();
        for expr in &self.exprs {
            expr.listed(&mut exprs);
        }
        comparable(Value::Array(exprs))
    }
}

/// The form in which listings are compared: counters without their numbers, unordered lists sorted.
pub(super) fn comparable(mut value: Value) -> Value {
    normalise(&mut value);
    value
}

/// The number of a transport protocol. nft names it only where `/etc/protocols` exists, which the template leaves out.
pub(super) fn protocol_number(value: &Value) -> Option<u64> {
    match value.as_str() {
        Some("tcp") => Some(6),
        Some("udp") => Some(17),
        Some(_) => None,
        None => value.as_u64(),
    }
}

/// Protocols by number, wherever the listing comes from.
fn number_protocols(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(number_protocols),
        Value::Object(map) => map.values_mut().for_each(number_protocols),
        _ => {
            if let Some(number) = protocol_number(value) {
                *value = Value::from(number);
            }
        }
    }
}

fn normalise(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(normalise),
        Value::Object(map) => {
            let protocol = map.get("left") == Some(&meta("l4proto"));
            if let (true, Some(right)) = (protocol, map.get_mut("right")) {
                number_protocols(right);
            }
            for (key, inner) in map.iter_mut() {
                match key.as_str() {
                    "counter" => *inner = Value::Null,
                    "set" | "right" => sort(inner),
                    _ => normalise(inner),
                }
            }
        }
        _ => {}
    }
}

fn sort(value: &mut Value) {
    normalise(value);
    if let Value::Array(list) = value {
        list.sort_by_cached_key(Value::to_string);
    }
}

#[allow(clippy::needless_pass_by_value)] // `json!` borrows, callers have no further use for the parts
fn matches(op: &str, left: Value, right: Value) -> Value {
    json!({"match": {"op": op, "left": left, "right": right}})
}

fn meta(key: &str) -> Value {
    json!({"meta": {"key": key}})
}

fn payload(protocol: &str, field: &str) -> Value {
    json!({"payload": {"protocol": protocol, "field": field}})
}

/// One value as it is, several as a set.
fn one_or_set(values: Vec<Value>) -> Value {
    match <[Value; 1]>::try_from(values) {
        Ok([one]) => one,
        Err(values) => json!({"set": values}),
    }
}

fn link(selector: &LinkSelector) -> Value {
    match selector {
        LinkSelector::One(link) => json!(link.as_str()),
        LinkSelector::Loopback => json!("lo"),
        LinkSelector::Set(set) => json!(format!("@{set}")),
    }
}

fn net(net: &Net) -> Value {
    let plain = |address: IpAddr| json!(address.to_string());
    match net {
        Net::Host(host) => plain(*host),
        Net::Cidr(cidr) if Net::single(cidr) => plain(cidr.network()),
        Net::Cidr(cidr) => {
            json!({"prefix": {"addr": cidr.network().to_string(), "len": cidr.prefix()}})
        }
    }
}

fn ports(ports: Ports) -> Value {
    match ports {
        Ports::One(port) => json!(port.get()),
        Ports::Range(first, last) => json!({"range": [first.get(), last.get()]}),
    }
}

fn key(key: Key) -> Value {
    match key {
        Key::Iif => meta("iifname"),
        Key::Oif => meta("oifname"),
        Key::SourceV4 => payload("ip", "saddr"),
        Key::DestinationV4 => payload("ip", "daddr"),
        Key::L4 => meta("l4proto"),
        Key::DestinationPort => payload("th", "dport"),
        Key::CtState => json!({"ct": {"key": "state"}}),
    }
}

fn keys(parts: &[Key]) -> Value {
    match parts {
        [one] => key(*one),
        several => json!({"concat": several.iter().map(|part| key(*part)).collect::<Vec<_>>()}),
    }
}

fn mapped(parts: &[Key], map: &super::Ident) -> Value {
    json!({"map": {"key": keys(parts), "data": format!("@{map}")}})
}

pub(super) fn verdict(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Accept => json!({"accept": null}),
        Verdict::Drop => json!({"drop": null}),
        Verdict::Return => json!({"return": null}),
        Verdict::Jump(chain) => json!({"jump": {"target": chain.as_str()}}),
        Verdict::Goto(chain) => json!({"goto": {"target": chain.as_str()}}),
    }
}

fn states(states: &std::collections::BTreeSet<CtState>) -> Value {
    let names: Vec<Value> = states.iter().map(|state| json!(state.as_str())).collect();
    let right = match <[Value; 1]>::try_from(names) {
        Ok([one]) => one,
        Err(names) => Value::Array(names),
    };
    matches("in", json!({"ct": {"key": "state"}}), right)
}

fn icmp(types: &std::collections::BTreeSet<IcmpType>) -> Value {
    let protocol = types.first().map_or("icmp", |first| first.protocol());
    let names = types.iter().map(|kind| json!(kind.as_str())).collect();
    matches("==", payload(protocol, "type"), one_or_set(names))
}

fn mark(mask: u32, value: u32) -> Value {
    matches("==", json!({"&": [meta("mark"), mask]}), json!(value))
}

fn mark_at(place: MarkPlace) -> Value {
    json!({place.as_str(): {"key": "mark"}})
}

fn mark_value(value: MarkValue) -> Value {
    match value {
        MarkValue::Number(number) => json!(number),
        MarkValue::Copy(from) => mark_at(from),
        MarkValue::Masked(from, mask) => json!({"&": [mark_at(from), mask]}),
        MarkValue::Replaced { from, mask, value } => {
            // the kernel keeps `mask ^ value`, from which nft shows the bits of the value as taken over
            json!({"|": [{"&": [mark_at(from), !mask | value]}, value]})
        }
    }
}

fn dnat(to: IpAddr, port: Option<Port>) -> Value {
    let family = if to.is_ipv4() { "ip" } else { "ip6" };
    let address = to.to_string();
    port.map_or_else(
        || json!({"dnat": {"family": family, "addr": address}}),
        |port| json!({"dnat": {"family": family, "addr": address, "port": port.get()}}),
    )
}

fn reject(with: RejectWith) -> Value {
    match with {
        RejectWith::TcpReset => json!({"type": "tcp reset"}),
        RejectWith::AdminProhibited => json!({"type": "icmpx", "expr": "admin-prohibited"}),
        RejectWith::PortUnreachable => json!({"type": "icmpx", "expr": "port-unreachable"}),
    }
}

impl Expr {
    fn listed(&self, out: &mut Vec<Value>) {
        let equal = |left, right| matches("==", left, right);
        let l4 = |protocol: L4, field| payload(protocol.as_str(), field);
        if matches!(self, Self::ClampMss) {
            out.push(matches("in", payload("tcp", "flags"), json!("syn")));
        }
        out.push(match self {
            Self::Iif(selector) => equal(meta("iifname"), link(selector)),
            Self::Oif(selector) => equal(meta("oifname"), link(selector)),
            Self::Source(network) => equal(payload(network.family(), "saddr"), net(network)),
            Self::Destination(network) => equal(payload(network.family(), "daddr"), net(network)),
            Self::CtState(wanted) => states(wanted),
            Self::CtDnat => matches("in", json!({"ct": {"key": "status"}}), json!("dnat")),
            Self::L4(protocols) => {
                let names = protocols.iter().map(|protocol| json!(protocol.as_str())).collect();
                equal(meta("l4proto"), one_or_set(names))
            }
            Self::DestinationPort(protocol, port) => equal(l4(*protocol, "dport"), ports(*port)),
            Self::SourcePort(protocol, port) => equal(l4(*protocol, "sport"), ports(*port)),
            Self::AnyDestinationPort(port) => equal(payload("th", "dport"), ports(*port)),
            Self::Icmp(types) => icmp(types),
            Self::ToSelf => {
                equal(json!({"fib": {"result": "type", "flags": ["daddr"]}}), json!("local"))
            }
            Self::Mark { mask, value } => mark(*mask, *value),
            Self::In(key, set) => equal(keys(key), json!(format!("@{set}"))),
            Self::Vmap(key, map) => json!({"vmap": {"key": keys(key), "data": format!("@{map}")}}),
            Self::Snat(address) => json!({"snat": {"family": "ip", "addr": address.to_string()}}),
            Self::SnatMap(key, map) => json!({"snat": {"family": "ip", "addr": mapped(key, map)}}),
            Self::DnatMap(key, map) => json!({"dnat": {"family": "ip", "addr": mapped(key, map)}}),
            Self::ClampMss => json!({"mangle": {
                "key": {"tcp option": {"name": "maxseg", "field": "size"}},
                "value": {"rt": {"key": "mtu"}},
            }}),
            Self::NoReturnPath => {
                equal(json!({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}), json!(false))
            }
            Self::Limit { rate, per, burst } => {
                json!({"limit": {"rate": rate, "burst": burst, "per": per.as_str()}})
            }
            Self::ConnectionMark { mask, value } => {
                equal(json!({"&": [json!({"ct": {"key": "mark"}}), mask]}), json!(value))
            }
            Self::SetMark(place, value) => {
                json!({"mangle": {"key": mark_at(*place), "value": mark_value(*value)}})
            }
            Self::Dnat(to, port) => dnat(*to, *port),
            Self::Masquerade => json!({"masquerade": null}),
            Self::Redirect(port) => json!({"redirect": {"port": port.get()}}),
            Self::Log { prefix, group: None } => json!({"log": {"prefix": format!("{prefix} ")}}),
            Self::Log { prefix, group: Some(group) } => {
                json!({"log": {"prefix": format!("{prefix} "), "group": group}})
            }
            Self::Reject(with) => json!({"reject": reject(*with)}),
            Self::Counter => json!({"counter": null}),
            Self::Verdict(end) => verdict(end),
        });
    }
}
