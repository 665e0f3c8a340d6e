//! What is in a reply: options as asked for, room, echoes, headers.

use super::*;

fn offer(codes: Option<&[u8]>, more: &[DhcpOption]) -> (v4::Message, Vec<u8>) {
    let mut options = more.to_vec();
    options.extend(
        codes.map(|codes| asked(&codes.iter().copied().map(OptionCode::from).collect::<Vec<_>>())),
    );
    let outcome = send(&mut server(), &client(MessageType::Discover, VM1, &options));
    let bytes = outcome.reply.as_ref().unwrap().bytes.clone();
    (reply(outcome).0, bytes)
}

#[test]
fn the_options_asked_for_have_their_values() {
    let (offer, _) = offer(Some(&[1, 3, 6, 12, 15, 26, 28, 51, 58, 59, 121]), &[]);
    let expected = [
        DhcpOption::SubnetMask(ip("255.255.255.0")),
        DhcpOption::Router(vec![ip("10.1.1.1")]),
        DhcpOption::DomainNameServer(vec![ip("10.1.1.1")]),
        DhcpOption::Hostname("vm1".into()),
        DhcpOption::DomainName("cs1.cloud.internal".into()),
        DhcpOption::InterfaceMtu(1500),
        DhcpOption::BroadcastAddr(ip("10.1.1.255")),
        DhcpOption::AddressLeaseTime(3600),
        DhcpOption::MessageType(MessageType::Offer),
        DhcpOption::ServerIdentifier(ip("10.1.1.1")),
        DhcpOption::Renewal(1800),
        DhcpOption::Rebinding(3150),
        DhcpOption::ClasslessStaticRoute(vec![
            ("0.0.0.0/0".parse().unwrap(), ip("10.1.1.1")),
            ("10.9.0.0/16".parse().unwrap(), ip("10.1.1.254")),
        ]),
    ];
    let got: Vec<_> = offer.opts().iter().map(|(_, option)| option.clone()).collect();
    assert_eq!(got, expected);
}

#[test]
fn what_is_not_asked_for_is_not_sent_but_for_the_indispensable() {
    assert_eq!(codes(&offer(Some(&[3]), &[]).0), [1, 3, 51, 53, 54]);
    assert_eq!(codes(&offer(Some(&[42]), &[]).0), [1, 51, 53, 54]);
}

#[test]
fn a_client_that_does_not_say_gets_everything() {
    let all = [1, 3, 6, 12, 15, 26, 28, 51, 53, 54, 58, 59, 121, 249];
    assert_eq!(codes(&offer(None, &[]).0), all);
}

#[test]
fn a_second_nic_is_not_given_a_second_way_out() {
    let mut slice = example();
    slice.networks[0].guests[0].default_nic = false;
    let outcome = send(&mut Server::new(&slice), &client(MessageType::Discover, VM1, &[]));
    let (offer, _) = reply(outcome);
    // neither router, resolver nor domain
    assert_eq!(codes(&offer), [1, 12, 26, 28, 51, 53, 54, 58, 59, 121, 249]);
    let routes =
        DhcpOption::ClasslessStaticRoute(vec![("10.9.0.0/16".parse().unwrap(), ip("10.1.1.254"))]);
    assert_eq!(offer.opts().get(OptionCode::ClasslessStaticRoute), Some(&routes));
}

fn configured(text: &str) -> Vec<sluice_api::config::DhcpOption> {
    serde_json::from_str(text).unwrap()
}

/// What VM1 and VM2 are told by a server whose first network has `options` and whose VM1 has `own`.
fn told(options: &str, own: &str) -> [v4::Message; 2] {
    let mut slice = example();
    slice.networks[0].options = configured(options);
    slice.networks[0].boot =
        serde_json::from_str(r#"{ "next_server": "10.1.1.5", "file": "pxelinux.0" }"#).unwrap();
    slice.networks[0].guests[0].dhcp.options = configured(own);
    let mut server = Server::new(&slice);
    [VM1, VM2].map(|vm| {
        let ask = client(MessageType::Request, vm, &[DhcpOption::MaxMessageSize(1400)]);
        let mut ask = ask.clone();
        ask.set_ciaddr(ip(if vm == VM1 { "10.1.1.23" } else { "10.1.1.24" }));
        reply(send(&mut server, &ask)).0
    })
}

#[test]
fn configured_options_are_handed_through_and_a_guest_s_own_win() {
    let network = r#"[
        { "code": 42, "value": { "addresses": ["192.0.2.1", "192.0.2.2"] } },
        { "code": 119, "value": { "names": ["eng.example.com", "example.com"] } },
        { "code": 15, "value": { "text": "other.internal" } },
        { "code": 43, "value": { "hex": "010400000002" } },
        { "code": 26, "value": { "number": 1450 } },
        { "code": 51, "value": { "number": 600 } },
        { "code": 108, "value": { "number": 1800 } },
        { "code": 252, "value": { "text": "http://wpad/" } }
    ]"#;
    let own = r#"[
        { "code": 15, "value": { "text": "mine.internal" } },
        { "code": 67, "value": { "text": "own.0" } },
        { "code": 51, "value": { "number": 120 } },
        { "code": 12, "value": { "text": "another" } }
    ]"#;
    let [vm1, vm2] = told(network, own);
    let get = |message: &v4::Message, code: u8| message.opts().get(OptionCode::from(code)).cloned();
    let names = ["eng.example.com.", "example.com."];
    for message in [&vm1, &vm2] {
        let servers = DhcpOption::NtpServers(vec![ip("192.0.2.1"), ip("192.0.2.2")]);
        assert_eq!(get(message, 42), Some(servers));
        let Some(DhcpOption::DomainSearch(search)) = get(message, 119) else {
            panic!("{message:?}")
        };
        assert_eq!(search.iter().map(ToString::to_string).collect::<Vec<_>>(), names);
        assert_eq!(get(message, 43), Some(DhcpOption::VendorExtensions(vec![1, 4, 0, 0, 0, 2])));
        assert_eq!(get(message, 26), Some(DhcpOption::InterfaceMtu(1450)));
        let Some(DhcpOption::Unknown(wait)) = get(message, 108) else { panic!("{message:?}") };
        assert_eq!(wait.data(), 1800_u32.to_be_bytes());
        assert_eq!(get(message, 66), Some(DhcpOption::TFTPServerName(b"10.1.1.5".to_vec())));
        assert_eq!(message.siaddr(), ip("10.1.1.5"));
        assert_eq!(message.fname(), Some(&b"pxelinux.0\0"[..]));
    }
    let text = |text: &str| text.to_owned();
    assert_eq!(get(&vm1, 15), Some(DhcpOption::DomainName(text("mine.internal"))));
    assert_eq!(get(&vm2, 15), Some(DhcpOption::DomainName(text("other.internal"))));
    assert_eq!(get(&vm1, 12), Some(DhcpOption::Hostname(text("another"))));
    assert_eq!(get(&vm1, 67), Some(DhcpOption::BootfileName(b"own.0".to_vec())));
    assert_eq!(get(&vm2, 67), Some(DhcpOption::BootfileName(b"pxelinux.0".to_vec())));
    assert_eq!(get(&vm1, 51), Some(DhcpOption::AddressLeaseTime(120)));
    assert_eq!(get(&vm1, 58), Some(DhcpOption::Renewal(60)));
    assert_eq!(get(&vm2, 51), Some(DhcpOption::AddressLeaseTime(600)));
}

/// The routes in `message`, by both of their numbers.
fn routes(message: &v4::Message) -> [Vec<String>; 2] {
    [121, 249].map(|code| match message.opts().get(OptionCode::from(code)) {
        Some(DhcpOption::ClasslessStaticRoute(routes)) => {
            routes.iter().map(|(to, via)| format!("{to} by {via}")).collect()
        }
        Some(DhcpOption::Unknown(same)) => vec![format!("{:?}", same.data())],
        _ => Vec::new(),
    })
}

#[test]
fn the_default_route_leads_by_the_router_that_is_told() {
    let own = r#"[{ "code": 3, "value": { "addresses": ["10.1.1.253"] } }]"#;
    let network = r#"[{ "code": 3, "value": { "addresses": ["10.1.1.252", "10.1.1.1"] } }]"#;
    let [vm1, vm2] = told(network, own);
    let further = "10.9.0.0/16 by 10.1.1.254";
    for (message, last) in [(&vm1, 253), (&vm2, 252)] {
        let [routes, same] = routes(message);
        assert_eq!(routes, [&format!("0.0.0.0/0 by 10.1.1.{last}"), further]);
        assert_eq!(same, [format!("[0, 10, 1, 1, {last}, 16, 10, 9, 10, 1, 1, 254]")]);
    }
}

#[test]
fn a_guest_s_own_routes_are_told_by_both_numbers() {
    let own = r#"[{ "code": 121, "value": { "routes": [{ "destination": "10.8.0.0/16", "via": "10.1.1.7" }] } }]"#;
    let network = r#"[{ "code": 249, "value": { "hex": "080a0a010108" } }]"#;
    let [vm1, vm2] = told(network, own);
    let same = |bytes: &str| vec![bytes.to_owned()];
    assert_eq!(routes(&vm1)[0], ["10.8.0.0/16 by 10.1.1.7"]);
    assert_eq!(routes(&vm1)[1], same("[16, 10, 8, 10, 1, 1, 7]"));
    assert_eq!(routes(&vm2)[1], same("[8, 10, 10, 1, 1, 8]"), "said of the network");
}

#[test]
fn a_lease_shorter_than_any_is_the_shortest_and_counted_by() {
    let own = r#"[{ "code": 51, "value": { "number": 30 } }]"#;
    let mut slice = example();
    slice.networks[0].guests[0].dhcp.options = configured(own);
    let mut server = Server::new(&slice);
    let mut ask = client(MessageType::Request, VM1, &[]);
    ask.set_ciaddr(ip("10.1.1.23"));
    let (ack, _) = reply(send(&mut server, &ask));
    let times =
        [DhcpOption::AddressLeaseTime(60), DhcpOption::Renewal(30), DhcpOption::Rebinding(53)];
    for time in times {
        assert_eq!(ack.opts().get(OptionCode::from(&time)), Some(&time));
    }
    let active = [59, 60].map(|later| server.active_leases(NOW + Duration::from_secs(later)));
    assert_eq!(active, [1, 0]);
}

#[test]
fn what_is_long_does_not_keep_out_what_is_needed() {
    let mut slice = example();
    slice.networks[0].routes = (0..36)
        .map(|number| sluice_api::config::ClasslessRoute {
            destination: format!("10.100.{number}.0/24").parse().unwrap(),
            via: ip("10.1.1.254"),
        })
        .collect();
    let mut server = Server::new(&slice);
    let (offer, _) = reply(send(&mut server, &client(MessageType::Discover, VM1, &[])));
    assert_eq!(codes(&offer), [1, 3, 6, 12, 15, 26, 28, 51, 53, 54, 58, 59]);
    assert_eq!(server.counters().options_omitted, 2, "the routes, by either number");
}

#[test]
fn the_old_windows_number_carries_the_same_routes() {
    let (_, bytes) = offer(Some(&[249]), &[]);
    let routes = [249, 12, 0, 10, 1, 1, 1, 16, 10, 9, 10, 1, 1, 254];
    assert!(bytes.windows(routes.len()).any(|window| window == routes), "{bytes:?}");
}

#[test]
fn the_client_id_is_echoed() {
    let id = DhcpOption::ClientIdentifier(vec![255, 1, 2, 3, 4, 5]);
    let (offer, _) = offer(Some(&[1]), std::slice::from_ref(&id));
    assert_eq!(offer.opts().get(OptionCode::ClientIdentifier), Some(&id));
}

#[test]
fn a_reply_is_never_shorter_than_bootp() {
    assert_eq!(offer(Some(&[42]), &[]).1.len(), 300);
}

/// 60 routes need 541 bytes, so two options of the same code (RFC 3396), and do not fit in 576.
fn with_many_routes() -> Server {
    let mut slice = example();
    slice.networks[0].routes = (0..60)
        .map(|number| sluice_api::config::ClasslessRoute {
            destination: format!("10.100.{number}.0/24").parse().unwrap(),
            via: ip("10.1.1.254"),
        })
        .collect();
    Server::new(&slice)
}

#[test]
fn a_reply_keeps_to_the_clients_size() {
    let mut server = with_many_routes();
    let ask =
        asked(&[OptionCode::Router, OptionCode::ClasslessStaticRoute, OptionCode::DomainName]);
    let small = client(MessageType::Discover, VM1, std::slice::from_ref(&ask));
    let outcome = send(&mut server, &small);
    assert!(outcome.reply.as_ref().unwrap().bytes.len() <= 548);
    assert_eq!(codes(&reply(outcome).0), [1, 3, 15, 51, 53, 54]);
    assert_eq!(server.counters().options_omitted, 1);

    let large = client(MessageType::Discover, VM1, &[ask, DhcpOption::MaxMessageSize(1500)]);
    let (offer, _) = reply(send(&mut server, &large));
    let Some(DhcpOption::ClasslessStaticRoute(routes)) =
        offer.opts().get(OptionCode::ClasslessStaticRoute)
    else {
        panic!("no routes in {offer:?}");
    };
    assert_eq!(routes.len(), 61);
}

#[test]
fn a_frame_has_correct_lengths_and_checksums() {
    for payload in [&b"abcd"[..], b"abcde", b"abcdef", b"abcdefg", b""] {
        let source = "10.1.1.1:67".parse().unwrap();
        let packet = frame(source, "10.1.1.23:68".parse().unwrap(), payload).unwrap();
        assert_eq!(packet.len(), FRAME_OVERHEAD + payload.len());
        assert_eq!(fold(words(&packet[..20])), 0xffff, "IP header");
        let length = u32::try_from(packet.len() - 20).unwrap();
        let udp = words(&packet[12..20]) + 17 + length + words(&packet[20..]);
        assert_eq!(fold(udp), 0xffff, "UDP with {payload:?}");
        assert_eq!(packet[28..], *payload);
    }
    assert_eq!(
        frame("0.0.0.0:1".parse().unwrap(), "0.0.0.0:2".parse().unwrap(), &vec![0; 65_536]),
        None
    );
}

fn words(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b)))
        .sum()
}

fn fold(mut sum: u32) -> u32 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}
