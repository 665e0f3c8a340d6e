//! Our expressions to the tree: one arm each.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use nftables::expr::{
    BinaryOperation, CT, CTDir, Expression, Fib, FibFlag, FibResult, JHash, Map, Meta, MetaKey,
    NamedExpression, NgMode, Numgen, Payload, PayloadField, Prefix, RT, RTKey, Range, SetItem,
    TcpOption,
};
use nftables::stmt::{
    Counter, Flow, JumpTarget, Limit, Log, Mangle, Match, NAT, NATFamily, Operator, Reject,
    RejectType, SetOp, Statement, VerdictMap,
};
use nftables::types::RejectCode;

use super::{
    Answer, Anything, Asked, CounterMap, Exists, Own, OwnMatch, Request, State, Stmt, Tree, Way,
    word,
};
use crate::{
    AddressKind, AddressSpan, CtState, CtStatus, Direction, Expr, Ident, IpVersion, Ipsec,
    IpsecWay, Key, Label, LinkSelector, MarkPlace, MarkValue, Net, Per, Ports, Protocol,
    RejectWith, Rule, Span, Spread, Targets, Verdict,
};

/// All statements of a rule.
pub(super) fn rule(rule: &Rule) -> Vec<Stmt> {
    let mut statements = Vec::with_capacity(rule.exprs.len());
    for expr in &rule.exprs {
        lower(expr, &mut statements);
    }
    statements
}

#[allow(clippy::too_many_lines)] // one arm for each expression
fn lower(expr: &Expr, out: &mut Vec<Stmt>) {
    let lowered: Stmt = match expr {
        Expr::Iif(link) => links(MetaKey::Iifname, link),
        Expr::Oif(link) => links(MetaKey::Oifname, link),
        Expr::Version(version) => equal(meta(MetaKey::Nfproto), word(nfproto(*version))),
        Expr::Source(net) => nets(|header| field(header, "saddr"), net),
        Expr::Destination(net) => nets(|header| field(header, "daddr"), net),
        Expr::CtState(states) => flags(ct("state"), states.iter().map(|state| ct_state(*state))),
        Expr::CtStatus(ways) => flags(ct("status"), ways.iter().map(|way| ct_status(*way))),
        Expr::CtDirection(way) => equal(ct("direction"), word(direction(*way))),
        Expr::OriginalSource(net) => nets(|header| original(header, "saddr"), net),
        Expr::OriginalDestination(net) => nets(|header| original(header, "daddr"), net),
        Expr::OriginalDestinationPort(l4, ports) => {
            out.push(protocols([Protocol::from(*l4)]));
            equal(ct_original("proto-dst"), spans(ports))
        }
        Expr::L4(any) => protocols(any.iter().map(|l4| Protocol::from(*l4))),
        Expr::Protocol(any) => protocols(any.iter().copied()),
        Expr::DestinationPort(l4, ports) => equal(field(l4.as_str(), "dport"), spans(ports)),
        Expr::SourcePort(l4, ports) => equal(field(l4.as_str(), "sport"), spans(ports)),
        Expr::AnyDestinationPort(ports) => equal(field("th", "dport"), spans(ports)),
        Expr::Icmp(types) => {
            let header = types.first().map_or(IpVersion::V4, |first| first.version).icmp();
            let types = types.iter().map(|one| Expression::Number(one.number.into()));
            equal(field(header, "type"), one_or_set(types))
        }
        Expr::IcmpCode(of, code) => {
            let header = of.version.icmp();
            out.push(equal(field(header, "type"), Expression::Number(of.number.into())));
            equal(field(header, "code"), Expression::Number((*code).into()))
        }
        Expr::ToSelf => equal(kind_of_destination(), word("local")),
        Expr::DestinationKind(kinds) => {
            equal(kind_of_destination(), one_or_set(kinds.iter().map(|kind| word(address(*kind)))))
        }
        Expr::Mark { mask, value } => masked(meta(MetaKey::Mark), *mask, *value),
        Expr::ConnectionMark { mask, value } => masked(ct("mark"), *mask, *value),
        Expr::Label(label) => compare(Operator::IN, ct("label"), bit(*label)),
        Expr::SocketUser(users) => {
            equal(meta(MetaKey::Skuid), one_or_set(users.iter().copied().map(Expression::Number)))
        }
        Expr::Ipsec(way, with) => ipsec(*way, *with),
        Expr::In(key, set) => equal(keys(key), named(set)),
        Expr::NotIn(key, set) => compare(Operator::NEQ, keys(key), named(set)),
        Expr::Vmap(key, map) => {
            Statement::VerdictMap(VerdictMap { key: keys(key), data: named(map) }).into()
        }
        Expr::NoReturnPath => {
            let flags = HashSet::from([FibFlag::Saddr, FibFlag::Iif]);
            let way = NamedExpression::Fib(Fib { result: FibResult::Oif, flags });
            equal(Expression::Named(way), Expression::Boolean(false))
        }
        Expr::Limit { rate, per, burst } => limit(*rate, *per, *burst, None),
        Expr::OverLimit { rate, per, burst } => limit(*rate, *per, *burst, Some(true)),
        Expr::Snat(to) => {
            Statement::SNAT(nat(IpVersion::of(*to), word(to.to_string()), None)).into()
        }
        Expr::SnatMap(version, key, map) => {
            Statement::SNAT(nat(*version, mapped(keys(key), named(map)), None)).into()
        }
        Expr::Masquerade => Statement::Masquerade(None).into(),
        Expr::Dnat(to, port) => {
            let port = port.map(|port| Expression::Number(port.get().into()));
            Statement::DNAT(nat(IpVersion::of(*to), word(to.to_string()), port)).into()
        }
        Expr::DnatMap(version, key, map) => {
            Statement::DNAT(nat(*version, mapped(keys(key), named(map)), None)).into()
        }
        Expr::Balance(spread, targets) => balance(*spread, targets),
        Expr::Redirect(None) => Statement::Redirect(None).into(),
        Expr::Redirect(Some(port)) => {
            let port = Some(Expression::Number(port.get().into()));
            Statement::Redirect(Some(NAT { addr: None, family: None, port, flags: None })).into()
        }
        Expr::ClampMss => {
            let opening =
                binary(field("tcp", "flags"), Expression::List(vec![word("syn"), word("rst")]));
            out.push(equal(opening, word("syn")));
            let option = TcpOption { name: "maxseg".into(), field: Some("size".into()) };
            let mtu = NamedExpression::RT(RT { key: RTKey::MTU, family: None });
            mangle(Expression::Named(NamedExpression::TcpOption(option)), Expression::Named(mtu))
        }
        Expr::SetMark(place, value) => mangle(mark_at(*place), mark_value(value)),
        Expr::SetLabel(label) => mangle(ct("label"), bit(*label)),
        Expr::NoTrack => Statement::Notrack.into(),
        Expr::CtHelper(helper) => Statement::CTHelper(owned(helper)).into(),
        Expr::Offload(table) => {
            let flowtable = format!("@{table}").into();
            Statement::Flow(Flow { op: SetOp::Add, flowtable }).into()
        }
        Expr::Log { prefix, group } => {
            let mut log = Log::new(group.map(u32::from));
            log.prefix = Some(format!("{prefix} ").into());
            Statement::Log(Some(log)).into()
        }
        Expr::Reject(with) => Statement::Reject(Some(reject(*with))).into(),
        Expr::Counter => Statement::Counter(Counter::Anonymous(None)).into(),
        Expr::NamedCounter(counter) => Statement::Counter(Counter::Named(owned(counter))).into(),
        Expr::CounterMap(key, map) => {
            let map = Map { key: keys(key), data: named(map) };
            Stmt::Own(Own::Counter(CounterMap { map }))
        }
        Expr::Verdict(end) => verdict(end),
    };
    out.push(lowered);
}

fn compare(op: Operator, left: Tree, right: Tree) -> Stmt {
    Statement::Match(Match { left, right, op }).into()
}

fn equal(left: Tree, right: Tree) -> Stmt {
    compare(Operator::EQ, left, right)
}

fn bit(label: Label) -> Tree {
    Expression::Number(u8::from(label).into())
}

/// Any of these bits.
fn flags(left: Tree, names: impl Iterator<Item = &'static str>) -> Stmt {
    let mut words: Vec<Tree> = names.map(word).collect();
    let right = match words.len() {
        1 => words.remove(0),
        _ => Expression::List(words),
    };
    compare(Operator::IN, left, right)
}

fn meta(key: MetaKey) -> Tree {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

fn field(protocol: &'static str, field: &'static str) -> Tree {
    let field = PayloadField { protocol: protocol.into(), field: field.into() };
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)))
}

fn ct(key: &'static str) -> Tree {
    Expression::Named(NamedExpression::CT(CT { key: key.into(), family: None, dir: None }))
}

fn ct_original(key: impl Into<Cow<'static, str>>) -> Tree {
    let dir = Some(CTDir::Original);
    Expression::Named(NamedExpression::CT(CT { key: key.into(), family: None, dir }))
}

fn original(header: &'static str, end: &'static str) -> Tree {
    ct_original(format!("{header} {end}"))
}

fn kind_of_destination() -> Tree {
    let flags = HashSet::from([FibFlag::Daddr]);
    Expression::Named(NamedExpression::Fib(Fib { result: FibResult::Type, flags }))
}

fn owned(name: &Ident) -> Cow<'static, str> {
    name.as_str().to_owned().into()
}

/// A set or map by its name.
fn named(set: &Ident) -> Tree {
    word(format!("@{set}"))
}

/// One value as it is, several as a set.
fn one_or_set(mut values: impl ExactSizeIterator<Item = Tree>) -> Tree {
    match (values.len(), values.next()) {
        (1, Some(one)) => one,
        (_, first) => {
            let items = first.into_iter().chain(values).map(SetItem::Element);
            Expression::Named(NamedExpression::Set(items.collect()))
        }
    }
}

fn links(key: MetaKey, selector: &LinkSelector) -> Stmt {
    let name = match selector {
        LinkSelector::One(link) => word(link.to_string()),
        LinkSelector::Not(link) => {
            return compare(Operator::NEQ, meta(key), word(link.to_string()));
        }
        LinkSelector::Beginning(start) => word(format!("{start}*")),
        LinkSelector::Loopback => word("lo"),
        LinkSelector::Set(set) => named(set),
    };
    equal(meta(key), name)
}

/// A match of an address; `end` gives the field of an IP header.
fn nets(end: impl Fn(&'static str) -> Tree, net: &Net) -> Stmt {
    let header = |span: AddressSpan| span.version().header();
    let (op, header, right) = match net {
        Net::Set(version, set) => (Operator::EQ, version.header(), named(set)),
        Net::NotSet(version, set) => (Operator::NEQ, version.header(), named(set)),
        Net::Outside(network) => {
            let span = AddressSpan::of(network);
            (Operator::NEQ, header(span), addresses(span))
        }
        Net::Cidr(_) | Net::Host(_) | Net::Span(_) => {
            let span = span_of(net);
            (Operator::EQ, header(span), addresses(span))
        }
    };
    compare(op, end(header), right)
}

/// The addresses of a net that names them itself.
fn span_of(net: &Net) -> AddressSpan {
    match net {
        Net::Cidr(network) | Net::Outside(network) => AddressSpan::of(network),
        Net::Host(host) => (*host).into(),
        Net::Span(span) => *span,
        Net::Set(version, _) | Net::NotSet(version, _) => AddressSpan::everything(*version),
    }
}

fn addresses(span: AddressSpan) -> Tree {
    let (first, last) = span.ends();
    match span.prefix() {
        _ if first == last => word(first.to_string()),
        Some(len) => {
            let addr = Box::new(word(first.to_string()));
            Expression::Named(NamedExpression::Prefix(Prefix { addr, len }))
        }
        None => range(word(first.to_string()), word(last.to_string())),
    }
}

fn range(first: Tree, last: Tree) -> Tree {
    Expression::Range(Box::new(Range { range: [first, last] }))
}

fn spans(ports: &Ports) -> Tree {
    let number = |port: u16| Expression::Number(port.into());
    let one = |span: Span<u16>| {
        if span.is_one() {
            number(span.first())
        } else {
            range(number(span.first()), number(span.last()))
        }
    };
    one_or_set(ports.spans().into_iter().map(one))
}

fn protocols(any: impl IntoIterator<Item = Protocol>) -> Stmt {
    let numbers: BTreeSet<u8> = any.into_iter().map(Protocol::number).collect();
    let numbers = numbers.into_iter().map(|number| Expression::Number(number.into()));
    equal(meta(MetaKey::L4proto), one_or_set(numbers))
}

fn key(part: Key) -> Tree {
    match part {
        Key::Iif => meta(MetaKey::Iifname),
        Key::Oif => meta(MetaKey::Oifname),
        Key::SourceV4 => field("ip", "saddr"),
        Key::DestinationV4 => field("ip", "daddr"),
        Key::SourceV6 => field("ip6", "saddr"),
        Key::DestinationV6 => field("ip6", "daddr"),
        Key::SourceMac => field("ether", "saddr"),
        Key::L4 => meta(MetaKey::L4proto),
        Key::SourcePort => field("th", "sport"),
        Key::DestinationPort => field("th", "dport"),
        Key::OriginalDestinationV4 => original("ip", "daddr"),
        Key::OriginalDestinationV6 => original("ip6", "daddr"),
        Key::OriginalDestinationPort => ct_original("proto-dst"),
        Key::Mark => meta(MetaKey::Mark),
        Key::ConnectionMark => ct("mark"),
    }
}

fn keys(parts: &[Key]) -> Tree {
    match parts {
        [one] => key(*one),
        several => {
            let parts = several.iter().map(|part| key(*part)).collect();
            Expression::Named(NamedExpression::Concat(parts))
        }
    }
}

fn mapped(key: Tree, data: Tree) -> Tree {
    Expression::Named(NamedExpression::Map(Box::new(Map { key, data })))
}

fn binary(left: Tree, right: Tree) -> Tree {
    Expression::BinaryOperation(Box::new(BinaryOperation::AND(left, right)))
}

fn masked(left: Tree, mask: u32, value: u32) -> Stmt {
    // nft leaves out a mask of all bits
    let left = if mask == u32::MAX { left } else { binary(left, Expression::Number(mask)) };
    equal(left, Expression::Number(value))
}

fn mark_at(place: MarkPlace) -> Tree {
    match place {
        MarkPlace::Packet => meta(MetaKey::Mark),
        MarkPlace::Connection => ct("mark"),
    }
}

fn mark_value(value: &MarkValue) -> Tree {
    match value {
        MarkValue::Number(number) => Expression::Number(*number),
        MarkValue::Copy(from) => mark_at(*from),
        MarkValue::Masked(from, mask) => binary(mark_at(*from), Expression::Number(*mask)),
        MarkValue::Replaced { from, mask, value } => {
            // as the kernel keeps it: the bits of the value are taken over and then set
            let kept = binary(mark_at(*from), Expression::Number(!mask | value));
            let parts = vec![kept, Expression::Number(*value)];
            Expression::BinaryOperation(Box::new(BinaryOperation::OR(parts)))
        }
        MarkValue::Map(key, map) => mapped(keys(key), named(map)),
    }
}

fn mangle(key: Tree, value: Tree) -> Stmt {
    Statement::Mangle(Mangle { key, value }).into()
}

fn ipsec(way: IpsecWay, with: Ipsec) -> Stmt {
    let dir = match way {
        IpsecWay::In => Way::In,
        IpsecWay::Out => Way::Out,
    };
    let anything = Anything { key: Exists::Ipsec };
    let (left, right) = match (with, way) {
        (Ipsec::Request(id), _) => {
            (Asked::Ipsec(State { key: Request::Reqid, dir, spnum: 0 }), Answer::Number(id))
        }
        (_, IpsecWay::In) => (Asked::Meta(anything), Answer::Exists(with == Ipsec::Some)),
        (_, IpsecWay::Out) => (Asked::Rt(anything), Answer::Exists(with == Ipsec::Some)),
    };
    Stmt::Own(Own::Match(OwnMatch { op: Operator::EQ, left, right }))
}

fn limit(rate: u32, per: Per, burst: u32, inv: Option<bool>) -> Stmt {
    let per = Some(unit(per).into());
    let burst = Some(burst);
    Statement::Limit(Limit { rate, rate_unit: None, per, burst, burst_unit: None, inv }).into()
}

fn nat(version: IpVersion, addr: Tree, port: Option<Tree>) -> Option<NAT<'static>> {
    let family = match version {
        IpVersion::V4 => NATFamily::IP,
        IpVersion::V6 => NATFamily::IP6,
    };
    Some(NAT { addr: Some(addr), family: Some(family), port, flags: None })
}

fn balance(spread: Spread, targets: &Targets) -> Stmt {
    let target = |address: String, port: sluice_api::types::Port| {
        let parts = vec![word(address), Expression::Number(port.get().into())];
        Expression::Named(NamedExpression::Concat(parts))
    };
    let (version, all): (IpVersion, Vec<Tree>) = match targets {
        Targets::V4(all) => {
            (IpVersion::V4, all.iter().map(|(ip, port)| target(ip.to_string(), *port)).collect())
        }
        Targets::V6(all) => {
            (IpVersion::V6, all.iter().map(|(ip, port)| target(ip.to_string(), *port)).collect())
        }
    };
    let Ok(count @ 1..) = u32::try_from(all.len()) else { return verdict(&Verdict::Drop) };
    let items = (0..count).zip(all);
    let items = items.map(|(number, to)| {
        SetItem::Element(Expression::List(vec![Expression::Number(number), to]))
    });
    let chosen = mapped(
        choice(spread, version, count),
        Expression::Named(NamedExpression::Set(items.collect())),
    );
    Statement::DNAT(nat(version, chosen, None)).into()
}

/// A number below `count`.
fn choice(spread: Spread, version: IpVersion, count: u32) -> Tree {
    let numgen = |mode| NamedExpression::Numgen(Numgen { mode, ng_mod: count, offset: Some(0) });
    Expression::Named(match spread {
        Spread::Turns => numgen(NgMode::Inc),
        Spread::Random => numgen(NgMode::Random),
        Spread::SourceHash(seed) => {
            let expr = Box::new(field(version.header(), "saddr"));
            let seed = Some(seed);
            NamedExpression::JHash(JHash { hash_mod: count, offset: None, expr, seed })
        }
    })
}

fn reject(with: RejectWith) -> Reject {
    let icmp = |code| Reject::new(Some(RejectType::ICMPX), Some(code));
    match with {
        RejectWith::TcpReset => Reject::new(Some(RejectType::TCPReset), None),
        RejectWith::AdminProhibited => icmp(RejectCode::AdminProhibited),
        RejectWith::PortUnreachable => icmp(RejectCode::PortUnreach),
        RejectWith::HostUnreachable => icmp(RejectCode::HostUnreach),
        RejectWith::NoRoute => icmp(RejectCode::NoRoute),
    }
}

pub(super) fn verdict(end: &Verdict) -> Stmt {
    let target = |chain: &Ident| JumpTarget { target: owned(chain) };
    let end = match end {
        Verdict::Accept => Statement::Accept(None),
        Verdict::Drop => Statement::Drop(None),
        Verdict::Return => Statement::Return(None),
        Verdict::Jump(chain) => Statement::Jump(target(chain)),
        Verdict::Goto(chain) => Statement::Goto(target(chain)),
    };
    end.into()
}

const fn nfproto(version: IpVersion) -> &'static str {
    match version {
        IpVersion::V4 => "ipv4",
        IpVersion::V6 => "ipv6",
    }
}

const fn ct_state(state: CtState) -> &'static str {
    match state {
        CtState::Established => "established",
        CtState::Related => "related",
        CtState::New => "new",
        CtState::Invalid => "invalid",
        CtState::Untracked => "untracked",
    }
}

const fn ct_status(status: CtStatus) -> &'static str {
    match status {
        CtStatus::Snat => "snat",
        CtStatus::Dnat => "dnat",
    }
}

const fn direction(way: Direction) -> &'static str {
    match way {
        Direction::Original => "original",
        Direction::Reply => "reply",
    }
}

const fn address(kind: AddressKind) -> &'static str {
    match kind {
        AddressKind::Unicast => "unicast",
        AddressKind::Local => "local",
        AddressKind::Broadcast => "broadcast",
        AddressKind::Multicast => "multicast",
    }
}

const fn unit(per: Per) -> &'static str {
    match per {
        Per::Second => "second",
        Per::Minute => "minute",
        Per::Hour => "hour",
    }
}
