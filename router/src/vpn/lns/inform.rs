//! DHCPINFORM over a link: how Windows learns which networks are behind the tunnel (RFC 2131 4.4.3, RFC 3442).
//!
//! IPCP has no routes. A Windows client that does not send everything into the tunnel asks by DHCP once the link is up, and
//! takes option 249, Microsoft's own number of what option 121 became. Pure: a message in, its answer out.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode, UnknownOption};
use dhcproto::{Decodable as _, Decoder, Encodable as _};
use sluice_api::types::Cidr;

/// Option 249 before it was standardised as 121 (MS-DHCPE 2.2.8).
const ROUTES_OF_MICROSOFT: u8 = 249;
/// More do not fit into one option.
const MOST_ROUTES: usize = 24;

/// What the client of a link is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Our end, which is the next hop.
    pub server: Ipv4Addr,
    /// The client's.
    pub client: Ipv4Addr,
    /// Networks behind the tunnel.
    pub routes: Vec<Cidr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
}

/// The answer to `request`; `None` to what is no DHCPINFORM.
pub fn answer(request: &[u8], told: &Told) -> Option<Vec<u8>> {
    let request = Message::decode(&mut Decoder::new(request)).ok()?;
    let asks = request.opcode() == Opcode::BootRequest
        && request.opts().msg_type() == Some(MessageType::Inform);
    if !asks {
        return None;
    }
    let none = Ipv4Addr::UNSPECIFIED;
    let hardware = request.chaddr();
    let mut reply = Message::new_with_id(request.xid(), told.client, none, none, none, hardware);
    reply.set_opcode(Opcode::BootReply);
    reply.set_htype(request.htype());
    let routes = classless(told);
    let options = reply.opts_mut();
    options.insert(DhcpOption::MessageType(MessageType::Ack));
    options.insert(DhcpOption::ServerIdentifier(told.server));
    options.insert(DhcpOption::SubnetMask(Ipv4Addr::BROADCAST));
    if !told.dns.is_empty() {
        options.insert(DhcpOption::DomainNameServer(told.dns.clone()));
    }
    if !routes.is_empty() {
        for code in [OptionCode::ClasslessStaticRoute.into(), ROUTES_OF_MICROSOFT] {
            let option = UnknownOption::new(OptionCode::Unknown(code), routes.clone());
            options.insert(DhcpOption::Unknown(option));
        }
    }
    reply.to_vec().ok()
}

/// Each network as its length, as many octets as that needs, and the next hop.
fn classless(told: &Told) -> Vec<u8> {
    let mut bytes = Vec::new();
    for network in told.routes.iter().filter_map(Cidr::as_ipv4).take(MOST_ROUTES) {
        let octets = network.network().octets();
        let needed = usize::from(network.prefix()).div_ceil(8);
        bytes.push(network.prefix());
        bytes.extend(octets.iter().take(needed));
        bytes.extend(told.server.octets());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        Told {
            server: Ipv4Addr::new(10, 9, 9, 1),
            client: Ipv4Addr::new(10, 9, 9, 2),
            routes: vec!["10.1.1.0/24".parse().unwrap(), "10.0.0.0/12".parse().unwrap()],
            dns: vec![Ipv4Addr::new(10, 1, 1, 1)],
        }
    }

    fn request(kind: MessageType) -> Vec<u8> {
        let none = Ipv4Addr::UNSPECIFIED;
        let client = told().client;
        let mut message = Message::new_with_id(7, client, none, none, none, &[0; 6]);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        message.to_vec().unwrap()
    }

    fn has(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn routes_are_told_by_both_numbers() {
        let bytes = answer(&request(MessageType::Inform), &told()).unwrap();
        let reply = Message::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!((reply.xid(), reply.yiaddr()), (7, Ipv4Addr::UNSPECIFIED));
        assert_eq!(reply.opts().msg_type(), Some(MessageType::Ack));
        let routes = [24, 10, 1, 1, 10, 9, 9, 1, 12, 10, 0, 10, 9, 9, 1];
        for code in [121, 249] {
            assert!(has(&bytes, &[&[code, 15], &routes[..]].concat()), "{code}: {bytes:?}");
        }
        assert!(has(&bytes, &[6, 4, 10, 1, 1, 1]));
    }

    #[test]
    fn nothing_else_is_answered() {
        for kind in [MessageType::Discover, MessageType::Request, MessageType::Release] {
            assert_eq!(answer(&request(kind), &told()), None);
        }
        let mut reply = request(MessageType::Inform);
        reply[0] = 2;
        assert_eq!(answer(&reply, &told()), None);
        for length in 0..240 {
            let cut = &request(MessageType::Inform)[..length];
            assert_eq!(answer(cut, &told()), None);
        }
    }

    #[test]
    fn many_networks_fit() {
        let each = |n: u8| format!("10.{n}.0.0/16").parse().unwrap();
        let told = Told { routes: (0..200).map(each).collect(), ..told() };
        let bytes = answer(&request(MessageType::Inform), &told).unwrap();
        assert!(bytes.len() < 1000, "{}", bytes.len());
        Message::decode(&mut Decoder::new(&bytes)).unwrap();
    }
}
