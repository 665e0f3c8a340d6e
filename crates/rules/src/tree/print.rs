//! The tree to nft text: the one printer.
//!
//! `None` for statements that we never make: they are foreign and shown as nft's JSON.

use nftables::expr::{
    BinaryOperation, CTDir, Expression, Fib, FibFlag, FibResult, JHash, MetaKey, NamedExpression,
    NgMode, Numgen, Payload, Prefix, RTKey, SetItem,
};
use nftables::stmt::{
    Counter, JumpTarget, Limit, Log, Mangle, Match, NAT, NATFamily, Operator, Reject, RejectType,
    SetOp, Statement,
};
use nftables::types::RejectCode;

use super::{Answer, Asked, Own, OwnMatch, Stmt, Tree, Way};
use crate::text::joined;
use crate::{AddressSpan, IcmpType, IpVersion, Protocol, protocol};

/// How values compared with something are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// As they are.
    Plain,
    /// Quoted: names of links.
    Name,
    /// Protocols.
    Protocol,
    /// ICMP types.
    Icmp(IpVersion),
    /// ICMP codes.
    Code(IpVersion),
    /// Hexadecimal: marks and seeds.
    Hex,
}

/// The statement as nft reads it.
pub(super) fn statement(statement: &Stmt) -> Option<String> {
    match statement {
        Stmt::Own(Own::Counter(counter)) => Some(format!(
            "counter name {} map {}",
            tree(&counter.map.key)?,
            tree(&counter.map.data)?
        )),
        Stmt::Own(Own::Match(own)) => own_match(own),
        Stmt::Known(known) => known_statement(known),
    }
}

fn known_statement(known: &Statement<'static>) -> Option<String> {
    Some(match known {
        Statement::Accept(None) => "accept".to_owned(),
        Statement::Drop(None) => "drop".to_owned(),
        Statement::Return(None) => "return".to_owned(),
        Statement::Jump(JumpTarget { target }) => format!("jump {target}"),
        Statement::Goto(JumpTarget { target }) => format!("goto {target}"),
        Statement::Match(compared) => comparison(compared)?,
        Statement::Counter(Counter::Named(name)) => format!("counter name \"{name}\""),
        Statement::Counter(Counter::Anonymous(_)) => "counter".to_owned(),
        Statement::Mangle(Mangle { key, value }) => {
            format!("{} set {}", tree(key)?, value_of(value, shape(key))?)
        }
        Statement::Limit(limit) => rate(limit)?,
        Statement::Flow(flow) if flow.op == SetOp::Add => format!("flow add {}", flow.flowtable),
        Statement::Notrack => "notrack".to_owned(),
        Statement::SNAT(Some(nat)) => translation("snat", nat)?,
        Statement::DNAT(Some(nat)) => translation("dnat", nat)?,
        Statement::Masquerade(None) => "masquerade".to_owned(),
        Statement::Redirect(None) => "redirect".to_owned(),
        Statement::Redirect(Some(NAT {
            addr: None,
            family: None,
            port: Some(port),
            flags: None,
        })) => {
            format!("redirect to :{}", tree(port)?)
        }
        Statement::Reject(Some(with)) => format!("reject with {}", rejection(with)?),
        Statement::Log(Some(log)) => logging(log)?,
        Statement::CTHelper(helper) => format!("ct helper set \"{helper}\""),
        Statement::VerdictMap(map) => format!("{} vmap {}", tree(&map.key)?, tree(&map.data)?),
        _ => return None,
    })
}

fn comparison(compared: &Match<'static>) -> Option<String> {
    let Match { left, right, op } = compared;
    let shape = shape(left);
    let is_binary = matches!(left, Expression::BinaryOperation(_));
    let (left, right) = (tree(left)?, value_of(right, shape)?);
    match op {
        Operator::EQ if is_binary => Some(format!("{left} == {right}")),
        Operator::EQ | Operator::IN => Some(format!("{left} {right}")),
        Operator::NEQ => Some(format!("{left} != {right}")),
        _ => None,
    }
}

fn own_match(own: &OwnMatch) -> Option<String> {
    let exists = |is: bool| if is { "exists" } else { "missing" };
    if own.op != Operator::EQ {
        return None;
    }
    match (&own.left, &own.right) {
        (Asked::Ipsec(state), Answer::Number(id)) if state.spnum == 0 => {
            let way = match state.dir {
                Way::In => "in",
                Way::Out => "out",
            };
            Some(format!("ipsec {way} reqid {id}"))
        }
        (Asked::Meta(_), Answer::Exists(is)) => Some(format!("meta ipsec {}", exists(*is))),
        (Asked::Rt(_), Answer::Exists(is)) => Some(format!("rt ipsec {}", exists(*is))),
        _ => None,
    }
}

/// How values are written that are compared with `left` or given to it.
fn shape(left: &Tree) -> Shape {
    match left {
        Expression::BinaryOperation(operation) => match operation.as_ref() {
            BinaryOperation::AND(left, _) => shape(left),
            _ => Shape::Plain,
        },
        Expression::Named(NamedExpression::Meta(meta)) => match meta.key {
            MetaKey::Iifname | MetaKey::Oifname => Shape::Name,
            MetaKey::L4proto => Shape::Protocol,
            MetaKey::Mark => Shape::Hex,
            _ => Shape::Plain,
        },
        Expression::Named(NamedExpression::CT(ct)) if ct.key == "mark" => Shape::Hex,
        Expression::Named(NamedExpression::Payload(Payload::PayloadField(field))) => {
            match (field.protocol.as_ref(), field.field.as_ref()) {
                ("icmp", "type") => Shape::Icmp(IpVersion::V4),
                ("icmpv6", "type") => Shape::Icmp(IpVersion::V6),
                ("icmp", "code") => Shape::Code(IpVersion::V4),
                ("icmpv6", "code") => Shape::Code(IpVersion::V6),
                ("ip", "protocol") | ("ip6", "nexthdr") => Shape::Protocol,
                _ => Shape::Plain,
            }
        }
        _ => Shape::Plain,
    }
}

fn tree(is: &Tree) -> Option<String> {
    value_of(is, Shape::Plain)
}

fn value_of(value: &Tree, shape: Shape) -> Option<String> {
    match value {
        Expression::String(text) if text.starts_with('@') => Some(text.to_string()),
        Expression::String(text) => a_word(text, shape),
        Expression::Number(number) => a_number(*number, shape),
        Expression::Boolean(true) => Some("exists".to_owned()),
        Expression::Boolean(false) => Some("missing".to_owned()),
        Expression::List(parts) => sorted(parts, shape, ","),
        Expression::BinaryOperation(operation) => operate(operation, shape),
        Expression::Range(range) => {
            let [first, last] = &range.range;
            span(&value_of(first, shape)?, &value_of(last, shape)?)
        }
        Expression::Named(named) => expression(named, shape),
        Expression::Verdict(_) => None,
    }
}

fn a_word(text: &str, shape: Shape) -> Option<String> {
    match shape {
        Shape::Plain | Shape::Hex => Some(text.to_owned()),
        Shape::Name => Some(format!("\"{text}\"")),
        Shape::Protocol => protocol::protocol_named(text).map(|known| known.to_string()),
        Shape::Icmp(version) => IcmpType::named(version, text).map(|known| known.to_string()),
        Shape::Code(version) => protocol::code_named(version, text).map(|known| known.to_string()),
    }
}

fn a_number(number: u32, shape: Shape) -> Option<String> {
    let small = || u8::try_from(number).ok();
    match shape {
        Shape::Protocol => small().map(|number| Protocol::new(number).to_string()),
        Shape::Icmp(version) => small().map(|number| IcmpType { version, number }.to_string()),
        Shape::Hex => Some(format!("{number:#x}")),
        Shape::Plain | Shape::Name | Shape::Code(_) => Some(number.to_string()),
    }
}

/// A range in its one form, for addresses a network where it is one.
fn span(first: &str, last: &str) -> Option<String> {
    let addresses = first.parse().ok().zip(last.parse().ok());
    match addresses {
        Some((one, other)) => AddressSpan::between(one, other).map(|span| span.to_string()),
        None => Some(format!("{first}-{last}")),
    }
}

/// Parts whose order means nothing, in one order: short before long, so that numbers stand as one counts.
fn sorted(parts: &[Tree], shape: Shape, separator: &str) -> Option<String> {
    let texts = parts.iter().map(|part| value_of(part, shape)).collect::<Option<Vec<String>>>()?;
    Some(joined(in_order(texts), separator))
}

fn in_order(mut texts: Vec<String>) -> Vec<String> {
    let numbers = texts.iter().all(|text| text.starts_with(|c: char| c.is_ascii_digit()));
    texts.sort_by(|one, other| {
        let long = |text: &String| if numbers { text.len() } else { 0 };
        long(one).cmp(&long(other)).then_with(|| one.cmp(other))
    });
    texts
}

fn operate(operation: &BinaryOperation<'static>, outer: Shape) -> Option<String> {
    match operation {
        BinaryOperation::AND(left, right) => {
            let bits = match right {
                Expression::List(parts) => format!("({})", sorted(parts, Shape::Plain, " | ")?),
                Expression::BinaryOperation(inner) => match inner.as_ref() {
                    BinaryOperation::OR(parts) => {
                        format!("({})", sorted(parts, Shape::Plain, " | ")?)
                    }
                    _ => return None,
                },
                bits => value_of(bits, shape(left))?,
            };
            Some(format!("{} & {bits}", tree(left)?))
        }
        BinaryOperation::OR(parts) => match parts.as_slice() {
            [left @ Expression::BinaryOperation(_), right] => {
                Some(format!("{} | {}", tree(left)?, value_of(right, outer)?))
            }
            _ => None,
        },
        _ => None,
    }
}

fn expression(named: &NamedExpression<'static>, outer: Shape) -> Option<String> {
    Some(match named {
        NamedExpression::Concat(parts) => {
            let texts = parts.iter().map(|part| value_of(part, outer));
            joined(texts.collect::<Option<Vec<_>>>()?, " . ")
        }
        NamedExpression::Set(items) => {
            let texts = items.iter().map(|item| match item {
                // the crate reads a pair as a list
                SetItem::Element(Expression::List(pair)) => mapping(pair),
                SetItem::Element(one) => value_of(one, outer),
                SetItem::Mapping(..) | SetItem::MappingStatement(..) => None,
            });
            let texts = in_order(texts.collect::<Option<Vec<_>>>()?);
            format!("{{ {} }}", joined(texts, ", "))
        }
        NamedExpression::Map(map) => format!("{} map {}", tree(&map.key)?, tree(&map.data)?),
        NamedExpression::Prefix(prefix) => network(prefix)?,
        NamedExpression::Payload(Payload::PayloadField(field)) => {
            format!("{} {}", field.protocol, field.field)
        }
        NamedExpression::TcpOption(option) => match &option.field {
            Some(field) => format!("tcp option {} {field}", option.name),
            None => return None,
        },
        NamedExpression::Meta(meta) => meta_key(meta.key)?.to_owned(),
        NamedExpression::RT(rt) if rt.key == RTKey::MTU && rt.family.is_none() => {
            "rt mtu".to_owned()
        }
        NamedExpression::CT(ct) if ct.family.is_none() => match ct.dir {
            None => format!("ct {}", ct.key),
            Some(CTDir::Original) => format!("ct original {}", ct.key),
            Some(CTDir::Reply) => format!("ct reply {}", ct.key),
        },
        NamedExpression::Numgen(numgen) => number_generator(numgen)?,
        NamedExpression::JHash(hash) => hashing(hash)?,
        NamedExpression::Fib(fib) => lookup(fib),
        _ => return None,
    })
}

fn mapping(pair: &[Tree]) -> Option<String> {
    match pair {
        [key, to] => Some(format!("{} : {}", tree(key)?, tree(to)?)),
        _ => None,
    }
}

fn network(prefix: &Prefix<'static>) -> Option<String> {
    let address = tree(&prefix.addr)?;
    let whole = if address.contains(':') { 128 } else { 32 };
    // one address has one form
    Some(if prefix.len == whole { address } else { format!("{address}/{}", prefix.len) })
}

const fn meta_key(key: MetaKey) -> Option<&'static str> {
    Some(match key {
        MetaKey::Iifname => "iifname",
        MetaKey::Oifname => "oifname",
        MetaKey::Mark => "meta mark",
        MetaKey::L4proto => "meta l4proto",
        MetaKey::Nfproto => "meta nfproto",
        MetaKey::Skuid => "meta skuid",
        _ => return None,
    })
}

fn number_generator(numgen: &Numgen) -> Option<String> {
    let mode = match numgen.mode {
        NgMode::Inc => "inc",
        NgMode::Random => "random",
    };
    let plain = numgen.offset.is_none_or(|offset| offset == 0);
    plain.then(|| format!("numgen {mode} mod {}", numgen.ng_mod))
}

fn hashing(hash: &JHash<'static>) -> Option<String> {
    let plain = hash.offset.is_none_or(|offset| offset == 0);
    let seed = hash.seed.map_or_else(String::new, |seed| format!(" seed {seed:#x}"));
    plain.then_some(())?;
    Some(format!("jhash {} mod {}{seed}", tree(&hash.expr)?, hash.hash_mod))
}

fn lookup(fib: &Fib) -> String {
    let flags = [
        (FibFlag::Saddr, "saddr"),
        (FibFlag::Daddr, "daddr"),
        (FibFlag::Mark, "mark"),
        (FibFlag::Iif, "iif"),
        (FibFlag::Oif, "oif"),
    ];
    let given = flags.iter().filter(|(flag, _)| fib.flags.contains(flag)).map(|(_, name)| *name);
    let result = match fib.result {
        FibResult::Oif => "oif",
        FibResult::Oifname => "oifname",
        FibResult::Type => "type",
    };
    format!("fib {} {result}", joined(given, " . "))
}

fn rate(limit: &Limit<'static>) -> Option<String> {
    let Limit { rate, rate_unit: None, per: Some(per), burst: Some(burst), burst_unit: None, inv } =
        limit
    else {
        return None;
    };
    let over = if inv.unwrap_or(false) { "over " } else { "" };
    Some(format!("limit rate {over}{rate}/{per} burst {burst} packets"))
}

fn translation(word: &str, nat: &NAT<'static>) -> Option<String> {
    let NAT { addr: Some(addr), family: Some(family), port, flags: None } = nat else {
        return None;
    };
    let (family, to) = (family_name(*family), tree(addr)?);
    let port = port.as_ref().map(tree);
    Some(match port {
        None => format!("{word} {family} to {to}"),
        Some(port) if to.contains(':') => format!("{word} {family} to [{to}]:{}", port?),
        Some(port) => format!("{word} {family} to {to}:{}", port?),
    })
}

const fn family_name(family: NATFamily) -> &'static str {
    match family {
        NATFamily::IP => "ip",
        NATFamily::IP6 => "ip6",
    }
}

fn rejection(with: &Reject) -> Option<String> {
    let code = match with.expr {
        None => "",
        Some(RejectCode::AdminProhibited) => "admin-prohibited",
        Some(RejectCode::PortUnreach) => "port-unreachable",
        Some(RejectCode::HostUnreach) => "host-unreachable",
        Some(RejectCode::NoRoute) => "no-route",
        Some(_) => return None,
    };
    match with._type {
        Some(RejectType::TCPReset) if code.is_empty() => Some("tcp reset".to_owned()),
        Some(RejectType::ICMPX) if !code.is_empty() => Some(format!("icmpx {code}")),
        _ => None,
    }
}

fn logging(log: &Log<'static>) -> Option<String> {
    let Log {
        prefix: Some(prefix),
        group,
        snaplen: None,
        queue_threshold: None,
        level: None,
        flags: None,
    } = log
    else {
        return None;
    };
    let group = group.map_or_else(String::new, |group| format!(" group {group}"));
    Some(format!("log prefix \"{prefix}\"{group}"))
}
