//! The header that tells a member who its client is (PROXY protocol, versions 1 and 2): pure.

use std::net::{IpAddr, SocketAddr};

use sluice_api::config::balancer::ProxyProtocol;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const PROXY: u8 = 0x21;
/// Version 2, command LOCAL: the balancer's own connection.
const LOCAL: u8 = 0x20;
/// TCP over IPv4 and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The header of a connection from `client` to `server`, the balanced address.
pub fn encode(version: ProxyProtocol, client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let (client, server) = same_family(client, server);
    match version {
        ProxyProtocol::V1 => text(client, server),
        ProxyProtocol::V2 => binary(client, server),
    }
}

/// The header of the balancer's own connections, such as health checks.
pub fn own(version: ProxyProtocol) -> Vec<u8> {
    match version {
        ProxyProtocol::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
        ProxyProtocol::V2 => [SIGNATURE.as_slice(), &[LOCAL, 0, 0, 0]].concat(),
    }
}

/// The header has room for one family; where the two differ, IPv4 is written as IPv6 does (RFC 4291 2.5.5.2).
fn same_family(client: SocketAddr, server: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
    let (client, server) = (canonical(client), canonical(server));
    if client.is_ipv4() == server.is_ipv4() {
        return (client, server);
    }
    let mapped = |it: SocketAddr| match it.ip() {
        IpAddr::V4(address) => SocketAddr::new(address.to_ipv6_mapped().into(), it.port()),
        IpAddr::V6(_) => it,
    };
    (mapped(client), mapped(server))
}

fn text(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.ip(), server.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), server.port()).into_bytes()
}

fn binary(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let addresses = match (client.ip(), server.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend([PROXY, TCP4, 0, 12]);
            [from.octets(), to.octets()].concat()
        }
        (from, to) => {
            header.extend([PROXY, TCP6, 0, 36]);
            [v6(from), v6(to)].concat()
        }
    };
    header.extend(addresses);
    header.extend(client.port().to_be_bytes());
    header.extend(server.port().to_be_bytes());
    header
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn text_headers_name_both_ends() {
        let header = encode(ProxyProtocol::V1, at("192.0.2.1:4000"), at("198.51.100.1:80"));
        assert_eq!(header, b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 80\r\n");
        let header = encode(ProxyProtocol::V1, at("192.0.2.1:4000"), at("[2001:db8::1]:80"));
        assert_eq!(header, b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 4000 80\r\n");
    }

    #[test]
    fn binary_headers_have_the_length_they_say() {
        let header = encode(ProxyProtocol::V2, at("192.0.2.1:4000"), at("198.51.100.1:80"));
        assert_eq!(header[..12], *SIGNATURE);
        assert_eq!(
            header[12..],
            [0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 1, 15, 160, 0, 80]
        );
        let header = encode(ProxyProtocol::V2, at("[2001:db8::2]:1"), at("[2001:db8::1]:2"));
        assert_eq!((header.len(), header[13], header[15]), (52, 0x21, 36));
        assert_eq!(own(ProxyProtocol::V2).len(), 16);
    }
}
