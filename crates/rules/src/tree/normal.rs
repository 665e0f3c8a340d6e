//! Matches that nft leaves out of a listing because a later one says the same: `meta l4proto tcp` before `tcp dport 80`.
//!
//! Both sides of a comparison take this form, so it does not matter which of them a version of nft leaves out.

use nftables::expr::{
    BinaryOperation, Expression, Meta, MetaKey, NamedExpression, Payload, PayloadField, SetItem,
};
use nftables::stmt::{Match, Operator, Statement};

use super::{Own, Stmt, Tree};
use crate::protocol::protocol_named;

/// The statements without the matches that others imply.
pub(super) fn form(mut statements: Vec<Stmt>) -> Vec<Stmt> {
    let mut at = 0;
    while at < statements.len() {
        let (before, after) = statements.split_at_mut(at + 1);
        let implied = before.last().and_then(carrier).is_some_and(|header| said_by(header, after));
        if implied {
            statements.remove(at);
        } else {
            at += 1;
        }
    }
    statements
}

/// The header that a match of a protocol or an IP version says is there.
fn carrier(statement: &Stmt) -> Option<&'static str> {
    let Stmt::Known(Statement::Match(Match { left, right, op: Operator::EQ })) = statement else {
        return None;
    };
    let Expression::Named(NamedExpression::Meta(Meta { key })) = left else { return None };
    let word = match right {
        Expression::String(word) => Some(word.as_ref()),
        _ => None,
    };
    match key {
        MetaKey::Nfproto => match word? {
            "ipv4" => Some("ip"),
            "ipv6" => Some("ip6"),
            _ => None,
        },
        MetaKey::L4proto => match protocol_number(right)? {
            6 => Some("tcp"),
            17 => Some("udp"),
            _ => None,
        },
        _ => None,
    }
}

fn protocol_number(right: &Tree) -> Option<u32> {
    match right {
        Expression::String(name) => protocol_named(name).map(|known| known.number().into()),
        Expression::Number(number) => Some(*number),
        _ => None,
    }
}

/// True when a field of the header is looked at later; fields of whatever transport header become fields of this one.
fn said_by(header: &'static str, later: &mut [Stmt]) -> bool {
    let mut said = false;
    for statement in later {
        fields(statement, &mut |field| {
            if field.protocol == "th" && matches!(header, "tcp" | "udp") {
                field.protocol = header.into();
            }
            said |= field.protocol == header;
        });
    }
    said
}

type Visit<'a> = &'a mut dyn FnMut(&mut PayloadField<'static>);

fn fields(statement: &mut Stmt, visit: Visit<'_>) {
    match statement {
        Stmt::Own(Own::Counter(counter)) => within(&mut counter.map.key, visit),
        Stmt::Own(Own::Match(_)) => {}
        Stmt::Known(known) => match known {
            Statement::Match(Match { left, .. }) => within(left, visit),
            Statement::VerdictMap(map) => within(&mut map.key, visit),
            Statement::Mangle(mangle) => {
                within(&mut mangle.key, visit);
                within(&mut mangle.value, visit);
            }
            Statement::SNAT(Some(nat)) | Statement::DNAT(Some(nat)) => {
                nat.addr.iter_mut().chain(&mut nat.port).for_each(|part| within(part, visit));
            }
            _ => {}
        },
    }
}

fn within(tree: &mut Tree, visit: Visit<'_>) {
    match tree {
        Expression::Named(NamedExpression::Payload(Payload::PayloadField(field))) => visit(field),
        Expression::Named(NamedExpression::Concat(parts)) | Expression::List(parts) => {
            for part in parts {
                within(part, visit);
            }
        }
        Expression::Named(NamedExpression::Map(map)) => within(&mut map.key, visit),
        Expression::Named(NamedExpression::JHash(hash)) => within(&mut hash.expr, visit),
        Expression::Named(NamedExpression::Set(items)) => {
            for item in items {
                if let SetItem::Element(element) = item {
                    within(element, visit);
                }
            }
        }
        Expression::BinaryOperation(operation) => match operation.as_mut() {
            BinaryOperation::AND(left, _) => within(left, visit),
            BinaryOperation::OR(parts) => parts.iter_mut().for_each(|part| within(part, visit)),
            _ => {}
        },
        _ => {}
    }
}
