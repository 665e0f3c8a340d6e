//! Policy rules by rtnetlink: those of our priorities; all others are neither listed nor touched.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::Handle;
use sluice_api::types::Cidr;

use super::{dump, gone, refused};
use crate::kernel::{KernelError, Object};
use crate::model::{PolicyEntry, RULE_PRIORITIES};

/// The bits of a mark that a rule looks at; see [`crate::model`].
const MARK_MASK: u32 = 0xffff;

/// Our rules of both families.
pub(super) async fn list(handle: &Handle) -> Result<BTreeSet<PolicyEntry>, KernelError> {
    let mut rules = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RuleMessage::default();
        question.header.family = family;
        let list =
            dump::dump(handle, RouteNetlinkMessage::GetRule(question), "policy rules").await?;
        rules.extend(list.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRule(rule) => entry(rule),
            _ => None,
        }));
    }
    Ok(rules)
}

fn entry(message: &RuleMessage) -> Option<PolicyEntry> {
    let mut entry = PolicyEntry {
        priority: 0,
        ipv4: message.header.family == AddressFamily::Inet,
        source: None,
        destination: None,
        link: None,
        mark: None,
        table: u32::from(message.header.table),
    };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(number) => entry.priority = *number,
            RuleAttribute::Source(from) => entry.source = cidr(*from, message.header.src_len),
            RuleAttribute::Destination(to) => entry.destination = cidr(*to, message.header.dst_len),
            RuleAttribute::Iifname(name) => entry.link = name.parse().ok(),
            RuleAttribute::FwMark(mark) if *mark != 0 => entry.mark = u16::try_from(*mark).ok(),
            RuleAttribute::Table(number) => entry.table = *number,
            _ => {}
        }
    }
    RULE_PRIORITIES.contains(&entry.priority).then_some(entry)
}

fn cidr(address: IpAddr, prefix: u8) -> Option<Cidr> {
    format!("{address}/{prefix}").parse().ok()
}

fn message(rule: &PolicyEntry) -> RuleMessage {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = if rule.ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    header.action = RuleAction::ToTable;
    header.table = u8::try_from(rule.table).unwrap_or(0);
    let mut attributes =
        vec![RuleAttribute::Priority(rule.priority), RuleAttribute::Table(rule.table)];
    if let Some(source) = rule.source {
        header.src_len = source.prefix();
        attributes.push(RuleAttribute::Source(source.network()));
    }
    if let Some(destination) = rule.destination {
        header.dst_len = destination.prefix();
        attributes.push(RuleAttribute::Destination(destination.network()));
    }
    attributes.extend(rule.link.as_ref().map(|link| RuleAttribute::Iifname(link.to_string())));
    if let Some(mark) = rule.mark {
        attributes.push(RuleAttribute::FwMark(u32::from(mark)));
        attributes.push(RuleAttribute::FwMask(MARK_MASK));
    }
    message.attributes = attributes;
    message
}

/// Adds a rule; the same again is refused.
pub(super) async fn add(handle: &Handle, rule: &PolicyEntry) -> Result<(), KernelError> {
    let mut request = handle.rule().add();
    *request.message_mut() = message(rule);
    request.execute().await.map_err(refused("add", Object::Policy(rule.clone().into())))
}

/// Removes a rule.
pub(super) async fn remove(handle: &Handle, rule: &PolicyEntry) -> Result<(), KernelError> {
    let answer = handle.rule().del(message(rule)).execute().await;
    let object = Object::Policy(rule.clone().into());
    gone(answer, &[libc::ENOENT, libc::EAFNOSUPPORT]).map_err(refused("remove", object))
}
