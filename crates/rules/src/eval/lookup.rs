//! Keys of a packet, and the elements of sets and maps that hold them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::run::Run;
use crate::{Element, ElementValue, Entry, Ident, Key, Set, Span, Table};

/// The element of the set that holds the packet's key, and what it has.
pub(super) fn find<'t>(
    run: &Run<'_>,
    table: &'t Table,
    key: &[Key],
    set: &Ident,
) -> Option<(&'t Element, &'t Entry)> {
    let key: Element = Element(key.iter().map(|part| value(run, *part)).collect::<Option<_>>()?);
    holding(table.sets.get(set)?, &key)
}

/// True when the kernel can look the key up: a link that there is not has an empty name, which is in no set.
pub(super) fn has(run: &Run<'_>, key: &[Key]) -> bool {
    key.iter().all(|part| matches!(part, Key::Iif | Key::Oif) || value(run, *part).is_some())
}

/// The element of a set that holds a key of single values.
pub(super) fn holding<'t>(set: &'t Set, key: &Element) -> Option<(&'t Element, &'t Entry)> {
    if !set.interval {
        return set.elements.get_key_value(key);
    }
    if let [one] = &*key.0 {
        // intervals lie apart, so only the last that begins before the value can hold it
        let before = set.elements.range(..=Element::from([widest(one)])).next_back();
        return before.filter(|(element, _)| covers(element, key));
    }
    set.elements.iter().find(|(element, _)| covers(element, key))
}

/// The last in order of all that begin with the value.
fn widest(value: &ElementValue) -> ElementValue {
    match value {
        ElementValue::Ipv4(span) => Span::new(span.first(), Ipv4Addr::BROADCAST).into(),
        ElementValue::Ipv6(span) => Span::new(span.first(), Ipv6Addr::from_bits(u128::MAX)).into(),
        ElementValue::Port(span) => Span::new(span.first(), u16::MAX).into(),
        other => other.clone(),
    }
}

fn covers(element: &Element, key: &Element) -> bool {
    element.0.len() == key.0.len()
        && element.0.iter().zip(key.0.iter()).all(|(is, value)| part(is, value))
}

fn part(is: &ElementValue, value: &ElementValue) -> bool {
    match (is, value) {
        (ElementValue::Ipv4(span), ElementValue::Ipv4(one)) => span.contains(one.first()),
        (ElementValue::Ipv6(span), ElementValue::Ipv6(one)) => span.contains(one.first()),
        (ElementValue::Port(span), ElementValue::Port(one)) => span.contains(one.first()),
        _ => is == value,
    }
}

/// A part of the packet's key; `None` where the packet has no such thing, and then the rule does not match.
fn value(run: &Run<'_>, key: Key) -> Option<ElementValue> {
    let packet = &run.packet;
    let port = |port: u16| Some(Span::from(port).into());
    match key {
        Key::Iif => packet.iif.clone().map(ElementValue::Link),
        Key::Oif => run.oif.clone().map(ElementValue::Link),
        Key::SourceV4 => v4(packet.source),
        Key::DestinationV4 => v4(packet.destination),
        Key::SourceV6 => v6(packet.source),
        Key::DestinationV6 => v6(packet.destination),
        Key::SourceMac => packet.source_mac.map(ElementValue::Mac),
        Key::L4 => Some(packet.protocol.into()),
        Key::SourcePort => packet.ports().and_then(|ports| port(ports.0)),
        Key::DestinationPort => packet.ports().and_then(|ports| port(ports.1)),
        Key::OriginalDestinationV4 => v4(run.tracking()?.original.1.0),
        Key::OriginalDestinationV6 => v6(run.tracking()?.original.1.0),
        Key::OriginalDestinationPort => run.tracking()?.original.1.1.and_then(port),
        Key::Mark => Some(ElementValue::Mark(packet.mark)),
        Key::ConnectionMark => Some(ElementValue::Mark(run.tracking()?.mark)),
    }
}

fn v4(address: IpAddr) -> Option<ElementValue> {
    match address {
        IpAddr::V4(address) => Some(address.into()),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: IpAddr) -> Option<ElementValue> {
    match address {
        IpAddr::V6(address) => Some(address.into()),
        IpAddr::V4(_) => None,
    }
}
