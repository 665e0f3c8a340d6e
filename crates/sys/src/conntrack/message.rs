//! ctnetlink messages (linux/netfilter/nfnetlink_conntrack.h).

use std::net::IpAddr;

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, Nla,
};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol as Carrier, Tuple as Half,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use sluice_rules::Protocol;
use sluice_rules::eval::{Flow, Parts, Tuple};

use super::TrackingCounts;

/// IPCTNL_MSG_CT_GET_STATS_CPU, IPCTNL_MSG_CT_GET_STATS.
const STATS_CPU: u8 = 4;
const STATS: u8 = 5;
/// CTA_STATS_INSERT_FAILED, _DROP, _EARLY_DROP of one processor.
const INSERT_FAILED: u16 = 9;
const DROP: u16 = 10;
const EARLY_DROP: u16 = 11;
/// CTA_STATS_GLOBAL_ENTRIES, _MAX_ENTRIES.
const ENTRIES: u16 = 1;
const MAX_ENTRIES: u16 = 2;
/// CTA_ID, CTA_TUPLE_MASTER.
const ID: u16 = 12;
const MASTER: u16 = 14;
/// CTA_PROTO_ICMP_ID, _TYPE, _CODE, and those of ICMPv6.
const ICMP: [u16; 3] = [4, 5, 6];
const ICMPV6: [u16; 3] = [7, 8, 9];

fn packed(family: NetfilterProtoFamily, flags: u16, inner: ConntrackMessage) -> Vec<u8> {
    let inner = NetfilterMessage::new(
        NetfilterHeader::new(family, 0, 0),
        NetfilterMessageInner::Conntrack(inner),
    );
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(inner));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Asks for all connections, of both versions of IP.
pub(super) fn list() -> Vec<u8> {
    packed(NetfilterProtoFamily::Unspec, NLM_F_DUMP, ConntrackMessage::Get(Vec::new()))
}

/// Asks to end one.
pub(super) fn delete(flow: &Flow) -> Vec<u8> {
    let tuple = &flow.original;
    let mut attributes = vec![ConntrackAttribute::CtaTupleOrig(halves(tuple))];
    if let Some(id) = flow.id {
        let number = DefaultNla::new(ID, id.to_be_bytes().to_vec());
        attributes.push(ConntrackAttribute::Other(number));
    }
    let family = match tuple.source {
        IpAddr::V4(_) => NetfilterProtoFamily::IPv4,
        IpAddr::V6(_) => NetfilterProtoFamily::IPv6,
    };
    packed(family, NLM_F_ACK, ConntrackMessage::Delete(attributes))
}

/// Asks how full the table is.
pub(super) fn totals() -> Vec<u8> {
    let inner = ConntrackMessage::Other { message_type: STATS, attributes: Vec::new() };
    packed(NetfilterProtoFamily::Unspec, NLM_F_ACK, inner)
}

/// Asks what each processor has counted.
pub(super) fn each_processor() -> Vec<u8> {
    let inner = ConntrackMessage::Other { message_type: STATS_CPU, attributes: Vec::new() };
    packed(NetfilterProtoFamily::Unspec, NLM_F_DUMP, inner)
}

fn conntrack(bytes: &[u8]) -> Option<ConntrackMessage> {
    let message = NetlinkMessage::<NetfilterMessage>::deserialize(bytes).ok()?;
    let NetlinkPayload::InnerMessage(inner) = message.payload else { return None };
    match inner.inner {
        NetfilterMessageInner::Conntrack(inner) => Some(inner),
        _ => None,
    }
}

/// The connection in an answer.
pub(super) fn flow(bytes: &[u8]) -> Option<Flow> {
    let ConntrackMessage::New(attributes) = conntrack(bytes)? else { return None };
    let (mut original, mut reply, mut master, mut id, mut mark) = (None, None, None, None, 0);
    for attribute in &attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(halves) => original = tuple(halves),
            ConntrackAttribute::CtaTupleReply(halves) => reply = tuple(halves),
            ConntrackAttribute::CtaMark(number) => mark = *number,
            ConntrackAttribute::Other(other) if other.kind() == ID => id = number(other),
            ConntrackAttribute::Other(other) if other.kind() == MASTER => master = nested(other),
            _ => {}
        }
    }
    Some(Flow { original: original?, reply: reply?, mark, master, id })
}

fn value(attribute: &DefaultNla) -> Vec<u8> {
    let mut bytes = vec![0; attribute.value_len()];
    attribute.emit_value(&mut bytes);
    bytes
}

fn number(attribute: &DefaultNla) -> Option<u32> {
    Some(u32::from_be_bytes(value(attribute).try_into().ok()?))
}

/// The tuple of the connection that opened this one, which the crate leaves as bytes.
fn nested(attribute: &DefaultNla) -> Option<Tuple> {
    let bytes = value(attribute);
    let halves = netlink_packet_core::NlasIterator::new(&bytes)
        .map(|part| netlink_packet_core::Parseable::parse(&part.ok()?).ok())
        .collect::<Option<Vec<Half>>>()?;
    tuple(&halves)
}

fn tuple(halves: &[Half]) -> Option<Tuple> {
    let (mut source, mut destination, mut protocol) = (None, None, None);
    let mut ports: (Option<u16>, Option<u16>) = (None, None);
    let mut icmp: [Option<u16>; 3] = [None; 3];
    for half in halves {
        match half {
            Half::Ip(parts) => {
                for part in parts {
                    match part {
                        IPTuple::SourceAddress(ip) => source = Some(*ip),
                        IPTuple::DestinationAddress(ip) => destination = Some(*ip),
                        _ => {}
                    }
                }
            }
            Half::Proto(parts) => {
                for part in parts {
                    match part {
                        ProtoTuple::Protocol(carrier) => protocol = Some(u8::from(*carrier)),
                        ProtoTuple::SourcePort(port) => ports.0 = Some(*port),
                        ProtoTuple::DestinationPort(port) => ports.1 = Some(*port),
                        ProtoTuple::Other(other) => {
                            for (place, (four, six)) in
                                icmp.iter_mut().zip(ICMP.iter().zip(&ICMPV6))
                            {
                                if [*four, *six].contains(&other.kind()) {
                                    *place = small(&value(other));
                                }
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let parts = match (ports, icmp) {
        ((Some(source), Some(destination)), _) => Parts::Ports(source, destination),
        (_, [Some(id), Some(kind), Some(code)]) => {
            Parts::Icmp { kind: u8::try_from(kind).ok()?, code: u8::try_from(code).ok()?, id }
        }
        _ => Parts::None,
    };
    Some(Tuple {
        source: source?,
        destination: destination?,
        protocol: Protocol::new(protocol?),
        parts,
    })
}

/// A number of one or two bytes.
fn small(bytes: &[u8]) -> Option<u16> {
    match bytes {
        [one] => Some((*one).into()),
        [high, low] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

fn halves(tuple: &Tuple) -> Vec<Half> {
    let addresses =
        vec![IPTuple::SourceAddress(tuple.source), IPTuple::DestinationAddress(tuple.destination)];
    let mut carried = vec![ProtoTuple::Protocol(Carrier::from(tuple.protocol.number()))];
    match tuple.parts {
        Parts::Ports(source, destination) => carried
            .extend([ProtoTuple::SourcePort(source), ProtoTuple::DestinationPort(destination)]),
        Parts::Icmp { kind, code, id } => {
            let [id_at, kind_at, code_at] = if tuple.source.is_ipv4() { ICMP } else { ICMPV6 };
            let raw = |at, bytes: &[u8]| ProtoTuple::Other(DefaultNla::new(at, bytes.to_vec()));
            carried.extend([
                raw(id_at, &id.to_be_bytes()),
                raw(kind_at, &[kind]),
                raw(code_at, &[code]),
            ]);
        }
        Parts::None => {}
    }
    vec![Half::Ip(addresses), Half::Proto(carried)]
}

fn counters(bytes: &[u8]) -> Option<Vec<(u16, u32)>> {
    let ConntrackMessage::Other { attributes, .. } = conntrack(bytes)? else { return None };
    attributes.iter().map(|attribute| Some((attribute.kind(), number(attribute)?))).collect()
}

/// How full the table is.
pub(super) fn add_totals(bytes: &[u8], counts: &mut TrackingCounts) {
    for (kind, number) in counters(bytes).unwrap_or_default() {
        match kind {
            ENTRIES => counts.entries = number,
            MAX_ENTRIES => counts.limit = number,
            _ => {}
        }
    }
}

/// What one processor has counted.
pub(super) fn add_processor(bytes: &[u8], counts: &mut TrackingCounts) {
    for (kind, number) in counters(bytes).unwrap_or_default() {
        let place = match kind {
            INSERT_FAILED => &mut counts.insert_failed,
            DROP => &mut counts.dropped,
            EARLY_DROP => &mut counts.early_dropped,
            _ => continue,
        };
        *place = place.saturating_add(number.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow_of(parts: Parts, protocol: Protocol, v6: bool) -> Flow {
        let ip = |four: &str, six: &str| if v6 { six } else { four }.parse().unwrap();
        let original = Tuple {
            source: ip("10.1.1.23", "2001:db8::23"),
            destination: ip("192.0.2.1", "2001:db8:9::1"),
            protocol,
            parts,
        };
        let reply =
            Tuple { source: original.destination, destination: original.source, ..original };
        Flow { original, reply, mark: 7, master: Some(reply), id: Some(0x0102_0304) }
    }

    /// As the kernel lists it.
    fn listed(flow: &Flow) -> Vec<u8> {
        let raw = |kind, bytes: Vec<u8>| ConntrackAttribute::Other(DefaultNla::new(kind, bytes));
        let master: Vec<u8> = halves(&flow.master.unwrap())
            .into_iter()
            .flat_map(|half| {
                let mut bytes = vec![0; netlink_packet_core::Emitable::buffer_len(&half)];
                netlink_packet_core::Emitable::emit(&half, &mut bytes);
                bytes
            })
            .collect();
        let attributes = vec![
            ConntrackAttribute::CtaTupleOrig(halves(&flow.original)),
            ConntrackAttribute::CtaTupleReply(halves(&flow.reply)),
            ConntrackAttribute::CtaMark(flow.mark),
            raw(ID, flow.id.unwrap().to_be_bytes().to_vec()),
            raw(MASTER, master),
        ];
        packed(NetfilterProtoFamily::IPv4, 0, ConntrackMessage::New(attributes))
    }

    #[test]
    fn a_connection_is_read_as_it_was_written() {
        for v6 in [false, true] {
            for (parts, protocol) in [
                (Parts::Ports(40_000, 443), Protocol::TCP),
                (Parts::Icmp { kind: 8, code: 0, id: 77 }, Protocol::ICMP),
                (Parts::None, Protocol::ESP),
            ] {
                let flow = flow_of(parts, protocol, v6);
                assert_eq!(super::flow(&listed(&flow)), Some(flow));
            }
        }
    }

    #[test]
    fn nonsense_is_no_connection() {
        let all = listed(&flow_of(Parts::Ports(1, 2), Protocol::UDP, true));
        for cut in 0..all.len() {
            let _read = super::flow(&all[..cut]);
        }
        for at in 16..all.len() {
            let mut changed = all.clone();
            changed[at] ^= 0xff;
            let _read = super::flow(&changed);
        }
    }
}
