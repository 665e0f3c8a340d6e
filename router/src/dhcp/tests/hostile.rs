//! Bytes that no client would send: no panic, no reply to what is malformed, the fuzz corpus replayed and mutated.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn refused(bytes: &[u8]) -> Malformed {
    let mut server = server();
    let link = link("guest0");
    let outcome = server.handle(NOW, Arrival { link: &link, source: ip("0.0.0.0"), bytes });
    match silence(&outcome) {
        DropReason::Malformed(why) => why,
        other => panic!("dropped as {other:?}"),
    }
}

fn discover() -> Vec<u8> {
    client(MessageType::Discover, VM1, &[]).to_vec().unwrap()
}

fn with(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = discover();
    change(&mut bytes);
    bytes
}

#[test]
fn each_kind_of_malformed_message_is_told_apart() {
    assert_eq!(refused(&[]), Malformed::Short(0));
    assert_eq!(refused(&discover()[..239]), Malformed::Short(239));
    assert_eq!(refused(&discover()[..240]), Malformed::NoType);
    assert_eq!(refused(&with(|bytes| bytes[0] = 2)), Malformed::Op(2));
    assert_eq!(refused(&with(|bytes| bytes[1] = 32)), Malformed::Hardware(32, 6));
    assert_eq!(refused(&with(|bytes| bytes[2] = 16)), Malformed::Hardware(1, 16));
    assert_eq!(refused(&with(|bytes| bytes[28..34].fill(0))), Malformed::ClientAddress);
    assert_eq!(refused(&with(|bytes| bytes[28] = 0xff)), Malformed::ClientAddress);
    assert_eq!(refused(&with(|bytes| bytes[236] = 0)), Malformed::Cookie);
    assert_eq!(refused(&with(|bytes| bytes[242] = 2)), Malformed::Type(2));
    let tail =
        |options: &[u8]| with(|bytes| bytes.splice(240.., options.iter().copied()).for_each(drop));
    assert_eq!(refused(&tail(&[53, 1, 1, 50, 3, 10, 1, 1])), Malformed::Length(50));
    assert_eq!(refused(&tail(&[53, 0])), Malformed::Length(53));
    assert_eq!(refused(&tail(&[53, 1, 1, 82, 1, 0, 0, 82, 1, 0])), Malformed::Length(82));
}

#[test]
fn what_stands_before_a_cut_option_counts() {
    for tail in [&[53, 1, 1, 50][..], &[53, 1, 1, 50, 4, 10, 1, 1], &[53, 1, 1, 61, 255, 1]] {
        let bytes = with(|bytes| {
            bytes.truncate(240);
            bytes.extend(tail);
        });
        let message = decode(&bytes).unwrap();
        assert_eq!((message.kind, message.requested), (Kind::Discover, None));
    }
}

#[test]
fn a_long_option_in_parts_is_one_and_given_back_in_parts() {
    let mut bytes = with(|bytes| bytes.truncate(243));
    for part in [[7; 255].as_slice(), &[8; 20]] {
        bytes.extend([82, u8::try_from(part.len()).unwrap()]);
        bytes.extend(part);
    }
    bytes[24..28].copy_from_slice(&[10, 1, 1, 254]);
    let mut server = server();
    let link = link("guest0");
    let arrival = Arrival { link: &link, source: ip("10.1.1.254"), bytes: &bytes };
    let reply = server.handle(NOW, arrival).reply.unwrap().bytes;
    let end = reply.iter().rposition(|byte| *byte == 255).unwrap();
    let echoed = [&[82, 255][..], &[7; 255], &[82, 20], &[8; 20]].concat();
    assert!(reply[..end].ends_with(&echoed), "{reply:?}");
    assert!(reply.len() <= 548);
}

#[test]
fn what_no_reply_has_room_to_give_back_is_not_answered() {
    let relayed = |length: usize| {
        with(|bytes| {
            bytes.truncate(243);
            for part in vec![7; length].chunks(255) {
                bytes.extend([82, u8::try_from(part.len()).unwrap()]);
                bytes.extend(part);
            }
        })
    };
    let (link, source) = (link("guest0"), ip("10.1.1.254"));
    let answer = |length: usize| {
        let bytes = relayed(length);
        server().handle(NOW, Arrival { link: &link, source, bytes: &bytes }).reply
    };
    assert_eq!(answer(294).unwrap().bytes.len(), 548);
    assert!(answer(295).is_none());
    assert_eq!(refused(&relayed(600)), Malformed::Length(82));
}

#[test]
fn options_in_the_header_fields_are_read() {
    // option 52 says that `file` (108) and `sname` (44) hold options too (RFC 2131 4.1)
    let bytes = with(|bytes| {
        bytes.splice(240.., [52, 1, 3, 255]);
        bytes[108..111].copy_from_slice(&[53, 1, 3]);
        bytes[111] = 255;
        bytes[44..51].copy_from_slice(&[50, 4, 10, 1, 1, 23, 255]);
    });
    let message = decode(&bytes).unwrap();
    assert_eq!((message.kind, message.requested), (Kind::Request, Some(ip("10.1.1.23"))));
}

#[test]
fn a_message_without_end_option_is_read() {
    let bytes = with(|bytes| bytes.truncate(243));
    assert_eq!(decode(&bytes).unwrap().kind, Kind::Discover);
}

fn feed(bytes: &[u8]) {
    let mut server = server();
    for name in ["guest0", "guest1", "nowhere"] {
        let link = link(name);
        let outcome = server.handle(NOW, Arrival { link: &link, source: ip("10.1.1.9"), bytes });
        if let Some(reply) = outcome.reply {
            v4::Message::from_bytes(&reply.bytes).unwrap();
        }
    }
}

/// One message of each shape that the server tells apart.
fn shapes() -> Vec<(&'static str, v4::Message)> {
    let server_id = DhcpOption::ServerIdentifier(ip("10.1.1.1"));
    let own = DhcpOption::RequestedIpAddress(ip("10.1.1.23"));
    let everything = asked(&[1, 3, 6, 12, 15, 26, 28, 121, 249].map(OptionCode::from));
    let id = DhcpOption::ClientIdentifier(vec![1, 2, 0, 10, 1, 1, 23]);
    let relay = v4::relay::RelayInfo::AgentCircuitId(b"port 7".to_vec());
    let mut info = v4::relay::RelayAgentInformation::default();
    info.insert(relay);
    let mut relayed =
        client(MessageType::Discover, VM1, &[DhcpOption::RelayAgentInformation(info)]);
    relayed.set_giaddr(ip("10.1.1.254"));
    let mut renewing = client(MessageType::Request, VM1, std::slice::from_ref(&id));
    renewing.set_ciaddr(ip("10.1.1.23"));
    let mut inform = client(MessageType::Inform, VM1, std::slice::from_ref(&everything));
    inform.set_ciaddr(ip("10.1.1.23"));
    let mut release = client(MessageType::Release, VM1, std::slice::from_ref(&server_id));
    release.set_ciaddr(ip("10.1.1.23"));
    let size = DhcpOption::MaxMessageSize(1500);
    vec![
        ("discover", client(MessageType::Discover, VM1, &[everything, id, size])),
        ("relayed", relayed),
        ("selecting", client(MessageType::Request, VM1, &[server_id.clone(), own.clone()])),
        ("init-reboot", client(MessageType::Request, VM1, std::slice::from_ref(&own))),
        ("renewing", renewing),
        ("decline", client(MessageType::Decline, VM1, &[server_id, own])),
        ("release", release),
        ("inform", inform),
    ]
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/dhcp_decode")
}

#[test]
fn the_corpus_has_every_shape() {
    for (name, message) in shapes() {
        let (path, bytes) = (folder().join(name), message.to_vec().unwrap());
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let stored = std::fs::read(&path).unwrap_or_default();
        assert_eq!(stored, bytes, "{}: rewrite with `cargo xtask bless`", path.display());
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = folder();
    let files =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn the_corpus_and_its_mutations_do_not_panic() {
    let corpus = corpus();
    assert!(corpus.len() >= 8, "only {} files", corpus.len());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for seed in &corpus {
        feed(seed);
        for _ in 0..2000 {
            let mut bytes = seed.clone();
            for _ in 0..=random.below(5) {
                mutate(&mut bytes, &mut random);
            }
            feed(&bytes);
        }
    }
}

/// xorshift64: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    // most in the options, where the structure is
    let from = if random.below(5) == 0 { 0 } else { 240.min(bytes.len() - 1) };
    let at = from + random.below(bytes.len() - from);
    match random.below(4) {
        0 => bytes[at] = random.byte(),
        1 => bytes.truncate(at),
        2 => bytes.insert(at, random.byte()),
        _ => bytes[at] ^= 1 << random.below(8),
    }
}

proptest! {
    #[test]
    fn noise_does_not_panic(noise in prop::collection::vec(any::<u8>(), 0..600)) {
        feed(&noise);
        let mut bytes = discover();
        bytes.truncate(240);
        bytes.extend(noise);
        feed(&bytes);
    }
}
