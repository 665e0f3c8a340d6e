//! What clients of the field do and need: each case as a kind.

use std::collections::BTreeMap;

use dhcproto::v4::{DhcpOption, MessageType};
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
        assert_eq!(offer.opts().get(dhcproto::v4::OptionCode::ClientIdentifier), Some(&id));
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
