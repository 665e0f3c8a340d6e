//! What clients of the field do and need: each case as a kind.

use std::collections::BTreeMap;

use dhcproto::v4::{DhcpOption, MessageType, OptionCode};
use sluice_api::config::GuestDhcp;

use super::bench::{BOUND, Bench, VM1, VM2, link, slice};
use super::raw::RawClient;

#[test]
fn every_answer_has_a_good_checksum_or_none() {
    let (_bench, guest, _) = Bench::new("sums");
    // the answers to a client that has its address go by ordinary unicast: the kernel writes their headers
    guest.address(&link("eth0"), "10.1.1.23/24".parse().unwrap()).unwrap();
    let mut client = RawClient::new(&guest);
    let server = DhcpOption::ServerIdentifier("10.1.1.1".parse().unwrap());
    let own = DhcpOption::RequestedIpAddress("10.1.1.23".parse().unwrap());
    let discover = client.message(MessageType::Discover, VM1, &[]);
    let selecting = client.message(MessageType::Request, VM1, &[server, own.clone()]);
    let init_reboot = client.message(MessageType::Request, VM1, &[own]);
    let mut renewing = client.message(MessageType::Request, VM1, &[]);
    let mut inform = client.message(MessageType::Inform, VM1, &[]);
    for message in [&mut renewing, &mut inform] {
        message.set_ciaddr([10, 1, 1, 23]);
    }
    // each is checked by the client itself
    for (message, kind) in [
        (discover, MessageType::Offer),
        (selecting, MessageType::Ack),
        (init_reboot, MessageType::Ack),
        (renewing, MessageType::Ack),
        (inform, MessageType::Ack),
    ] {
        assert_eq!(client.ask(&message).message.opts().msg_type(), Some(kind));
    }
}

const SCRIPT: &str = "#!/bin/sh\necho \"event $1\"; env; echo \"end $1\"\n";

/// What udhcpc's script was told when it was bound, `asked` being asked for by name.
fn bound(
    bench: &Bench,
    guest: &sluice_lab::netns::Namespace,
    asked: &[&str],
) -> BTreeMap<String, String> {
    let script = bench.script("all", SCRIPT);
    let words = ["udhcpc", "-f", "-q", "-i", "eth0", "-s", script.as_str()];
    let options: Vec<_> = asked.iter().flat_map(|name| ["-O", *name]).collect();
    let mut client = guest.spawn(words.iter().chain(&options)).unwrap();
    client.says("end bound", BOUND).unwrap();
    let output = client.output();
    let block = output.rsplit("event bound\n").next().unwrap();
    let pairs = block.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn a_vm_on_two_networks_has_one_way_out() {
    let mut bench = Bench::empty("two-nics");
    let first = bench.guest("two-nics-a", "guest0", 1, VM1);
    let second = bench.guest("two-nics-b", "guest1", 2, VM1);
    let mut both = slice();
    // one MAC on two segments, as sub-ports of a trunk have
    let mut again = both.networks[0].guests[0].clone();
    again.address = "10.1.2.77".parse().unwrap();
    again.default_nic = false;
    both.networks[1].guests.push(again);
    bench.write(&both);
    bench.start();
    bench.await_link("guest0");
    bench.await_link("guest1");
    let asked = ["staticroutes"];
    let way_out = bound(&bench, &first, &asked);
    assert_eq!(way_out["ip"], "10.1.1.23");
    assert!(["router", "dns", "domain"].iter().all(|name| way_out.contains_key(*name)));
    let aside = bound(&bench, &second, &asked);
    assert_eq!((aside["ip"].as_str(), aside["hostname"].as_str()), ("10.1.2.77", "vm1"));
    assert!(!["router", "dns", "domain"].iter().any(|name| aside.contains_key(*name)), "{aside:?}");
    assert_eq!(aside["staticroutes"], "10.9.0.0/16 10.1.2.254", "and no default route");
}

#[test]
fn options_and_boot_server_are_handed_through() {
    let mut bench = Bench::empty("options");
    let first = bench.guest("options-a", "guest0", 1, VM1);
    let mut wanted = slice();
    wanted.networks[0].options = serde_json::from_str(
        r#"[
            { "code": 42, "value": { "addresses": ["192.0.2.1"] } },
            { "code": 119, "value": { "names": ["eng.example.com", "example.com"] } },
            { "code": 252, "value": { "text": "http://wpad/" } }
        ]"#,
    )
    .unwrap();
    wanted.networks[0].boot =
        serde_json::from_str(r#"{ "next_server": "10.1.1.5", "file": "pxelinux.0" }"#).unwrap();
    wanted.networks[0].guests[0].dhcp = GuestDhcp {
        options: serde_json::from_str(r#"[{ "code": 67, "value": { "text": "own.0" } }]"#).unwrap(),
        boot: None,
    };
    bench.write(&wanted);
    bench.start();
    bench.await_link("guest0");
    let asked = ["ntpsrv", "search", "tftp", "bootfile", "wpad"];
    let told = bound(&bench, &first, &asked);
    for (name, value) in [
        ("ntpsrv", "192.0.2.1"),
        ("search", "eng.example.com example.com"),
        ("wpad", "http://wpad/"),
        ("siaddr", "10.1.1.5"),
        ("boot_file", "pxelinux.0"),
        ("tftp", "10.1.1.5"),
        ("bootfile", "own.0"),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(value), "{name} of {told:#?}");
    }
}

#[test]
fn what_clients_send_that_no_book_has_is_answered() {
    let (_bench, guest, _) = Bench::new("sloppy");
    let mut client = RawClient::new(&guest);
    // an old address in a DISCOVER, identifiers that change, options that are empty or odd, no end option
    let mut old = client.message(MessageType::Discover, VM1, &[]);
    old.set_ciaddr([10, 1, 1, 99]);
    let offer = client.ask(&old).message;
    assert_eq!(
        (offer.yiaddr().to_string(), offer.ciaddr().to_string()),
        ("10.1.1.23".into(), "0.0.0.0".into())
    );
    for id in [&[255, 1, 2, 3, 4, 0, 1][..], &[1, 2, 0, 10, 1, 1, 23], b"\0ipxe"] {
        let id = DhcpOption::ClientIdentifier(id.to_vec());
        let message = client.message(MessageType::Discover, VM1, std::slice::from_ref(&id));
        let offer = client.ask(&message).message;
        assert_eq!(offer.yiaddr().to_string(), "10.1.1.23");
        assert_eq!(offer.opts().get(OptionCode::ClientIdentifier), Some(&id));
    }
    let plain =
        dhcproto::Encodable::to_vec(&client.message(MessageType::Discover, VM2, &[])).unwrap();
    for tail in [
        &[12, 0, 60, 0, 61, 0, 255][..],
        &[81, 3, 0x6f, 0, 0, 57, 2, 0, 0],
        &[255, 1, 2, 3],
        &[12, 9, b'x'],
        &[],
    ] {
        let bytes = [&plain[..243], tail].concat();
        client.send_bytes(&bytes);
        assert_eq!(client.next().message.yiaddr().to_string(), "10.1.1.24", "{tail:?}");
    }
}

/// Options of a network, and of one of its guests, as the configuration has them.
const OPTIONS: [&str; 2] = [
    r#"[
        { "code": 42, "value": { "addresses": ["192.0.2.1", "192.0.2.2"] } },
        { "code": 43, "value": { "hex": "0104c0000201" } },
        { "code": 108, "value": { "number": 1800 } },
        { "code": 114, "value": { "text": "https://portal.example/" } },
        { "code": 119, "value": { "names": ["eng.example"] } },
        { "code": 150, "value": { "addresses": ["10.1.1.5", "10.1.1.6"] } },
        { "code": 224, "value": { "hex": "c0ffee" } },
        { "code": 252, "value": { "text": "http://wpad/" } }
    ]"#,
    r#"[
        { "code": 43, "value": { "hex": "0201ff" } },
        { "code": 58, "value": { "number": 900 } },
        { "code": 66, "value": { "text": "tftp.example" } }
    ]"#,
];
const GATEWAY: &[u8] = &[10, 1, 1, 1];
const ROUTES: &[u8] = &[0, 10, 1, 1, 1, 16, 10, 9, 10, 1, 1, 254];
/// Every number with its bytes, for all guests.
const FOR_ALL: [(u8, &[u8]); 18] = [
    (1, &[255, 255, 255, 0]),
    (3, GATEWAY),
    (6, GATEWAY),
    (15, b"cs1.cloud.internal"),
    (26, &[5, 120]),
    (28, &[10, 1, 1, 255]),
    (42, &[192, 0, 2, 1, 192, 0, 2, 2]),
    (51, &[0, 0, 14, 16]),
    (54, GATEWAY),
    (59, &[0, 0, 12, 78]),
    (67, b"pxelinux.0"),
    (108, &[0, 0, 7, 8]),
    (114, b"https://portal.example/"),
    (119, b"\x03eng\x07example\0"),
    (121, ROUTES),
    (150, &[10, 1, 1, 5, 10, 1, 1, 6]),
    (249, ROUTES),
    (252, b"http://wpad/"),
];
/// The same for the guest with options of its own, and for the other.
const FOR_EACH: [(u8, &[u8], &[u8]); 5] = [
    (12, b"vm1", b"vm2"),
    (43, &[2, 1, 255], &[1, 4, 192, 0, 2, 1]),
    (58, &[0, 0, 3, 132], &[0, 0, 7, 8]),
    (66, b"tftp.example", b"10.1.1.5"),
    (224, &[0xc0, 0xff, 0xee], &[0xc0, 0xff, 0xee]),
];

#[test]
fn every_number_that_clouds_hand_through_arrives() {
    let mut bench = Bench::empty("numbers");
    let guest = bench.guest("numbers-a", "guest0", 1, VM1);
    let mut wanted = slice();
    let network = &mut wanted.networks[0];
    network.options = serde_json::from_str(OPTIONS[0]).unwrap();
    network.boot =
        serde_json::from_str(r#"{ "next_server": "10.1.1.5", "file": "pxelinux.0" }"#).unwrap();
    network.guests[0].dhcp.options = serde_json::from_str(OPTIONS[1]).unwrap();
    bench.write(&wanted);
    bench.start();
    bench.await_link("guest0");
    let mut client = RawClient::new(&guest);
    let size = DhcpOption::MaxMessageSize(1400);
    let offers = [VM1, VM2].map(|who| {
        let discover = client.message(MessageType::Discover, who, std::slice::from_ref(&size));
        client.ask(&discover)
    });
    let for_all = FOR_ALL.into_iter().map(|(code, bytes)| (code, bytes, bytes));
    for (code, first, second) in for_all.chain(FOR_EACH) {
        let got = [offers[0].option(code), offers[1].option(code)];
        assert_eq!(got, [Some(first.to_vec()), Some(second.to_vec())], "option {code}");
    }
}

#[test]
fn what_boots_from_the_network_is_told_from_where() {
    let mut bench = Bench::empty("pxe");
    let guest = bench.guest("pxe-a", "guest0", 1, VM1);
    let mut wanted = slice();
    wanted.networks[0].boot =
        serde_json::from_str(r#"{ "next_server": "10.1.1.5", "file": "pxelinux.0" }"#).unwrap();
    bench.write(&wanted);
    bench.start();
    bench.await_link("guest0");
    let mut client = RawClient::new(&guest);
    // as firmware asks (RFC 4578, PXE 2.1): who it is, and no more options than it needs
    let asked = [1, 3, 43, 60, 66, 67, 97].map(OptionCode::from).to_vec();
    let firmware = [
        DhcpOption::ClassIdentifier(b"PXEClient:Arch:00007:UNDI:003016".to_vec()),
        DhcpOption::ParameterRequestList(asked),
        DhcpOption::ClientMachineIdentifier([&[0][..], &[7; 16]].concat()),
    ];
    let discover = client.message(MessageType::Discover, VM1, &firmware);
    let server = DhcpOption::ServerIdentifier("10.1.1.1".parse().unwrap());
    let own = DhcpOption::RequestedIpAddress("10.1.1.23".parse().unwrap());
    let request =
        client.message(MessageType::Request, VM1, &[&firmware[..], &[server, own]].concat());
    for message in [discover, request] {
        let told = client.ask(&message);
        assert_eq!(told.message.yiaddr().to_string(), "10.1.1.23");
        assert_eq!(told.message.siaddr().to_string(), "10.1.1.5");
        assert_eq!(told.message.fname(), Some(&b"pxelinux.0\0"[..]));
        assert_eq!(told.option(66), Some(b"10.1.1.5".to_vec()));
        assert_eq!(told.option(67), Some(b"pxelinux.0".to_vec()));
    }
}

#[test]
fn the_server_is_the_gateway_whatever_else_its_link_has() {
    let mut bench = Bench::empty("server");
    let guest = bench.guest("server-a", "guest0", 1, VM1);
    // the kernel's own choice of a source is the first address of the network
    for line in ["addr flush dev guest0", "addr add 10.1.1.9/24 dev guest0"] {
        bench.router.ip(line.split(' ')).unwrap();
    }
    bench.router.address(&link("guest0"), "10.1.1.1/24".parse().unwrap()).unwrap();
    guest.address(&link("eth0"), "10.1.1.23/24".parse().unwrap()).unwrap();
    bench.write(&slice());
    bench.start();
    bench.await_link("guest0");
    let mut client = RawClient::new(&guest);
    let discover = client.message(MessageType::Discover, VM1, &[]);
    let mut renewing = client.message(MessageType::Request, VM1, &[]);
    renewing.set_ciaddr([10, 1, 1, 23]);
    for message in [discover, renewing] {
        let told = client.ask(&message);
        assert_eq!((told.from.octets(), told.option(54)), ([10, 1, 1, 1], Some(vec![10, 1, 1, 1])));
    }
}
