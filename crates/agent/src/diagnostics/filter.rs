//! Which frames a capture keeps. Pure.
//!
//! Guarantees: any bytes may come in; a frame whose headers are cut or not understood has no protocol, hosts or ports,
//! and passes only a filter that asks for none.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use sluice_api::AGENT_PORT;
use sluice_api::report::{CaptureProtocol, CaptureRequest};

/// Tags in front of the packet that are looked behind.
const MAX_TAGS: usize = 2;
/// Extension headers of IPv6 that are looked behind.
const MAX_EXTENSIONS: usize = 8;

/// What a filter looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    protocol: Option<CaptureProtocol>,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    /// Of TCP and UDP: from and to.
    ports: Option<(u16, u16)>,
}

/// What to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Filter {
    host: Option<IpAddr>,
    port: Option<u16>,
    protocol: Option<CaptureProtocol>,
    /// The API's own addresses, whose packets are left out.
    without_api: BTreeSet<IpAddr>,
}

impl Filter {
    /// What `request` asks for, on an appliance whose API has these addresses.
    pub(super) fn new(request: &CaptureRequest, api: BTreeSet<IpAddr>) -> Self {
        Self {
            host: request.host.map(sluice_api::types::HostAddress::ip),
            port: request.port.map(sluice_api::types::Port::get),
            protocol: request.protocol,
            without_api: if request.include_api { BTreeSet::new() } else { api },
        }
    }

    /// Whether to keep this frame.
    pub(super) fn keeps(&self, frame: &[u8]) -> bool {
        let facts = read(frame).unwrap_or_default();
        let ends = [facts.source, facts.destination];
        let host = self.host.is_none_or(|host| ends.contains(&Some(host)));
        let port = self
            .port
            .is_none_or(|port| facts.ports.is_some_and(|(from, to)| from == port || to == port));
        let protocol = self.protocol.is_none_or(|wanted| facts.protocol == Some(wanted));
        host && port && protocol && !self.is_api(&facts)
    }

    fn is_api(&self, facts: &Facts) -> bool {
        let ours = |end: Option<IpAddr>| end.is_some_and(|end| self.without_api.contains(&end));
        let port = AGENT_PORT.get();
        facts.protocol == Some(CaptureProtocol::Tcp)
            && facts.ports.is_some_and(|(from, to)| {
                from == port && ours(facts.source) || to == port && ours(facts.destination)
            })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// What can be said of a frame.
pub(super) fn read(frame: &[u8]) -> Option<Facts> {
    let mut at = 12;
    for _ in 0..MAX_TAGS {
        if matches!(number(frame, at)?, 0x8100 | 0x88a8) {
            at += 4;
        }
    }
    let packet = frame.get(at + 2..)?;
    match number(frame, at)? {
        0x0806 => Some(arp(packet)),
        0x0800 => ipv4(packet),
        0x86dd => ipv6(packet),
        _ => None,
    }
}

fn arp(packet: &[u8]) -> Facts {
    let address = |at: usize| {
        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::V4(Ipv4Addr::from(bytes)))
    };
    let protocol = Some(CaptureProtocol::Arp);
    Facts { protocol, source: address(14), destination: address(24), ports: None }
}

fn ipv4(packet: &[u8]) -> Option<Facts> {
    let address = |at: usize| {
        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::V4(Ipv4Addr::from(bytes)))
    };
    let header = usize::from(packet.first()? & 0x0f) * 4;
    // a later fragment has no header of its protocol
    let first = number(packet, 6)?.trailing_zeros() >= 13;
    let payload = if first { packet.get(header..) } else { None };
    Some(transport(*packet.get(9)?, address(12), address(16), payload))
}

fn ipv6(packet: &[u8]) -> Option<Facts> {
    let address = |at: usize| {
        let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(bytes)))
    };
    let (protocol, payload) = behind_extensions(*packet.get(6)?, packet.get(40..)?);
    Some(transport(protocol, address(8), address(24), payload))
}

/// The protocol behind the extension headers (RFC 8200 4) and what it carries, if that is here.
fn behind_extensions(first: u8, payload: &[u8]) -> (u8, Option<&[u8]>) {
    let (mut protocol, mut rest) = (first, Some(payload));
    for _ in 0..MAX_EXTENSIONS {
        let Some(header) = rest else { break };
        let length = match protocol {
            // hop by hop, routing, destination options
            0 | 43 | 60 => header.get(1).map(|length| (usize::from(*length) + 1) * 8),
            // fragment: only the first has what follows
            44 => number(header, 2).filter(|offset| offset & 0xfff8 == 0).map(|_| 8),
            _ => break,
        };
        protocol = header.first().copied().unwrap_or(protocol);
        rest = length.and_then(|length| header.get(length..));
    }
    (protocol, rest)
}

fn transport(
    protocol: u8,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    payload: Option<&[u8]>,
) -> Facts {
    let protocol = match protocol {
        1 => Some(CaptureProtocol::Icmp),
        6 => Some(CaptureProtocol::Tcp),
        17 => Some(CaptureProtocol::Udp),
        58 => Some(CaptureProtocol::Icmpv6),
        _ => None,
    };
    let has_ports = matches!(protocol, Some(CaptureProtocol::Tcp | CaptureProtocol::Udp));
    let payload = payload.filter(|_| has_ports);
    let ports = payload.and_then(|bytes| Some((number(bytes, 0)?, number(bytes, 2)?)));
    Facts { protocol, source, destination, ports }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn filter(narrow: &serde_json::Value) -> Filter {
        let mut request = json!({ "link": "pub0" });
        request.as_object_mut().unwrap().extend(narrow.as_object().unwrap().clone());
        let api = BTreeSet::from(["169.254.0.10".parse().unwrap()]);
        Filter::new(&serde_json::from_value(request).unwrap(), api)
    }

    fn frame(tags: &[u16], kind: u16, packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for tag in tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 101]);
        }
        frame.extend(kind.to_be_bytes());
        frame.extend(packet);
        frame
    }

    fn packet(protocol: u8, from: [u8; 4], to: [u8; 4], ports: [u16; 2]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet.extend(from);
        packet.extend(to);
        packet.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        packet
    }

    #[test]
    fn hosts_ports_and_protocols_are_told_apart() {
        let udp = frame(&[], 0x0800, &packet(17, [10, 1, 1, 23], [192, 0, 2, 53], [4000, 53]));
        for (narrow, kept) in [
            (json!({}), true),
            (json!({"host": "10.1.1.23"}), true),
            (json!({"host": "192.0.2.53", "port": 53, "protocol": "udp"}), true),
            (json!({"host": "10.1.1.24"}), false),
            (json!({"port": 54}), false),
            (json!({"protocol": "tcp"}), false),
            (json!({"protocol": "arp"}), false),
        ] {
            assert_eq!(filter(&narrow).keeps(&udp), kept, "{narrow}");
        }
    }

    #[test]
    fn tags_extensions_and_fragments_are_looked_behind() {
        let udp = packet(17, [10, 1, 1, 23], [192, 0, 2, 53], [4000, 53]);
        let port = filter(&json!({"port": 53}));
        assert!(port.keeps(&frame(&[0x8100], 0x0800, &udp)));
        assert!(port.keeps(&frame(&[0x88a8, 0x8100], 0x0800, &udp)));
        let mut later = udp.clone();
        later[7] = 1;
        assert!(!port.keeps(&frame(&[], 0x0800, &later)), "a later fragment");
        assert!(filter(&json!({"protocol": "udp"})).keeps(&frame(&[], 0x0800, &later)));
        let mut six = vec![0x60, 0, 0, 0, 0, 0, 0, 64];
        six.extend([0x20; 32]);
        six.extend([17, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0xa0, 0, 53]);
        assert!(port.keeps(&frame(&[], 0x86dd, &six)), "behind a hop-by-hop header");
    }

    #[test]
    fn the_api_is_left_out_unless_asked_for() {
        let answer = frame(&[], 0x0800, &packet(6, [169, 254, 0, 10], [169, 254, 0, 1], [3922, 9]));
        assert!(!filter(&json!({})).keeps(&answer));
        assert!(filter(&json!({"include_api": true})).keeps(&answer));
        let guest = frame(&[], 0x0800, &packet(6, [10, 1, 1, 23], [192, 0, 2, 80], [9, 3922]));
        assert!(filter(&json!({})).keeps(&guest), "a guest's own traffic to such a port");
    }

    #[test]
    fn what_is_not_understood_passes_an_open_filter_only() {
        assert!(filter(&json!({})).keeps(&[1, 2, 3]));
        assert!(!filter(&json!({"protocol": "udp"})).keeps(&[1, 2, 3]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..120),
            kind in prop::sample::select(vec![0x0800_u16, 0x0806, 0x86dd, 0x8100]),
        ) {
            let _ = read(&bytes);
            let _ = read(&frame(&[], kind, &bytes));
        }
    }
}
