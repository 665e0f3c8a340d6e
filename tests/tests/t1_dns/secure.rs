//! Resolvers that are asked over TLS, and whose answers are proved.

use std::net::UdpSocket;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, Record, RecordType};
use serde_json::{Value, json};
use sluice_lab::netns::Process;

use crate::bench::{BOUND, Bench, dig, lines, slice};
use crate::scripted::Resolver;

/// Runs programs beside the bench's files.
fn made(bench: &Bench, words: &[&str]) -> String {
    let output = bench.outside.command(words).run().unwrap();
    assert!(output.ok(), "{words:?}: {}{}", output.stdout, output.stderr);
    output.stdout
}

fn path(bench: &Bench, name: &str) -> String {
    bench.path(name).display().to_string()
}

/// unbound on 192.0.2.53 with these lines in its configuration.
fn unbound(bench: &Bench, lines: &str) -> Process {
    let text = format!(
        "server:\n access-control: 0.0.0.0/0 allow\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n\
         use-syslog: no\n logfile: \"\"\n log-queries: yes\n module-config: \"iterator\"\n{lines}"
    );
    let file = bench.path("unbound.conf");
    std::fs::write(&file, text).unwrap();
    let words = ["unbound".as_ref(), "-d".as_ref(), "-c".as_ref(), file.as_os_str()];
    let mut unbound = bench.outside.spawn(words).unwrap();
    unbound.says("start of service", BOUND).unwrap();
    unbound
}

/// The example's slice with one resolver at `port`.
fn with_resolver(port: u16) -> Value {
    let mut slice = slice();
    slice["upstreams"] = json!([format!("192.0.2.53:{port}")]);
    slice
}

/// A key and a certificate for this name or address, which is its own authority: their files.
fn certificate(bench: &Bench, whose: &str) -> [String; 2] {
    let (key, certificate) = (path(bench, "key.pem"), path(bench, "certificate.pem"));
    let line = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=resolver \
                -addext basicConstraints=critical,CA:FALSE -addext";
    let name = format!("subjectAltName={whose}");
    let words = [&name, "-keyout", &key, "-out", &certificate];
    made(bench, &line.split_whitespace().chain(words).collect::<Vec<_>>());
    [key, certificate]
}

/// Everything below `example.test` is 192.0.2.80, over TLS at both resolvers' addresses.
fn tls_resolver(bench: &Bench, [key, certificate]: &[String; 2]) -> Process {
    let lines = format!(
        " interface: 192.0.2.53@853\n interface: 192.0.2.54@853\n tls-service-key: {key}\n tls-service-pem: {certificate}\n\
         local-zone: \"example.test.\" redirect\n local-data: \"example.test. 300 IN A 192.0.2.80\"\n"
    );
    unbound(bench, &lines)
}

#[test]
fn a_resolver_is_asked_over_tls_and_one_that_cannot_prove_itself_is_not() {
    let mut bench = Bench::wired("dns-tls");
    let files = certificate(&bench, "DNS:dns.example");
    let resolver = tls_resolver(&bench, &files);
    let mut slice = with_resolver(853);
    let authorities = std::fs::read_to_string(&files[1]).unwrap();
    slice["tls"] = json!({ "server_name": "dns.example", "authorities": authorities });
    bench.write(&slice);
    bench.start();
    let answer = dig(&bench.first, "@10.1.1.1 www.example.test");
    assert!(answer.says("192.0.2.80"), "{}\n{}", answer.output.stdout, resolver.output());
    slice["tls"]["server_name"] = "other.example".into();
    bench.write(&slice);
    bench.reload();
    dig(&bench.first, "@10.1.1.1 www.example.test").expect("status: SERVFAIL").expect("EDE: 22");
}

/// Counts connections to TLS's port and questions in the clear, both at the resolvers.
const COUNTERS: &str = "table inet count {
    counter connections { }
    counter clear { }
    chain in {
        type filter hook input priority 0;
        tcp dport 853 tcp flags & (syn | ack) == syn counter name connections
        udp dport 53 counter name clear
    }
}";

fn counted(bench: &Bench, name: &str) -> u64 {
    let text = made(bench, &["nft", "list", "counter", "inet", "count", name]);
    let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
    words.nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_network_s_own_resolvers_are_known_by_their_address_and_asked_on_one_connection() {
    let mut bench = Bench::wired("dns-tls-own");
    let files = certificate(&bench, "IP:192.0.2.54");
    let mut resolver = tls_resolver(&bench, &files);
    let counters = bench.path("counters.nft");
    std::fs::write(&counters, COUNTERS).unwrap();
    made(&bench, &["nft", "-f", &path(&bench, "counters.nft")]);
    let mut slice = with_resolver(53);
    let authorities = std::fs::read_to_string(&files[1]).unwrap();
    slice["networks"][0]["upstreams"] = json!(["192.0.2.54:853"]);
    slice["networks"][0]["tls"] = json!({ "authorities": authorities });
    bench.write(&slice);
    bench.start();
    let names = bench.path("names");
    std::fs::write(&names, lines(300, |n| format!("n{n}.example.test A"))).unwrap();
    let load = format!("dnsperf -s 10.1.1.1 -d {} -n 1 -q 30 -t 5", names.display());
    let done = bench.first.command(load.split_whitespace()).run().unwrap();
    let seen = format!("{}{}\n{}", done.stdout, done.stderr, resolver.output());
    assert!(done.stdout.contains("NOERROR 300 (100.00%)"), "{seen}");
    resolver.says("n299.example.test. A IN", BOUND).unwrap();
    let connections = counted(&bench, "connections");
    assert!((1..=5).contains(&connections), "{connections} for 300 questions");
    assert_eq!(counted(&bench, "clear"), 0);
    // the resolver is started again, and so has forgotten the connection
    drop(resolver);
    let _again = tls_resolver(&bench, &files);
    dig(&bench.first, "+tries=3 @10.1.1.1 after.example.test").expect("192.0.2.80");
    // the same certificate at another address proves nothing
    slice["networks"][0]["upstreams"] = json!(["192.0.2.53:853"]);
    bench.write(&slice);
    bench.reload();
    dig(&bench.first, "@10.1.1.1 www.example.test").expect("status: SERVFAIL").expect("EDE: 22");
    assert_eq!(counted(&bench, "clear"), 0, "there is no way back to the clear");
    // the other network's guests are asked for elsewhere, as before
    dig(&bench.second, "@10.1.2.1 www.example.test").expect("status: SERVFAIL");
    assert!(counted(&bench, "clear") > 0);
}

const ZONE: &str = "$ORIGIN example.test.\n$TTL 300\n@ SOA ns h 1 3600 600 86400 30\n@ NS ns\nns A 192.0.2.53\n\
    www A 192.0.2.80\nalias CNAME www\nbad A 192.0.2.81\n*.wild A 192.0.2.82\n\
    m.wild A 192.0.2.83\n";

/// `example.test`, signed with these further words to the signer, with `bad` changed behind its back; the keys that its
/// proofs begin with.
fn signed(bench: &Bench, further: &[&str]) -> (String, String) {
    let (zone, keys, out) = (path(bench, "zone"), path(bench, "keys"), path(bench, "signed"));
    std::fs::write(&zone, ZONE).unwrap();
    std::fs::create_dir(&keys).unwrap();
    let algorithm = ["dnssec-keygen", "-q", "-K", &keys, "-a", "ECDSAP256SHA256"];
    let key = made(bench, &[&algorithm[..], &["-f", "KSK", "example.test"]].concat());
    let other = made(bench, &[&algorithm[..], &["example.test"]].concat());
    let line =
        ["dnssec-signzone", "-q", "-S", "-K", &keys, "-d", &keys, "-o", "example.test", "-f", &out];
    made(bench, &[&line[..], further, &[zone.as_str()]].concat());
    let spoilt = std::fs::read_to_string(&out).unwrap().replace("192.0.2.81", "192.0.2.99");
    std::fs::write(&out, spoilt).unwrap();
    // below the root each key of the zone must be an anchor: those that are not are proved by the parent's word
    let anchors = [key, other]
        .map(|name| std::fs::read_to_string(format!("{keys}/{}.key", name.trim())).unwrap());
    let anchors: Vec<&str> = anchors
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| !line.starts_with(';'))
        .collect();
    (out, anchors.join("\n") + "\n")
}

/// A resolver at `address` with the zone of its own, and a router that has what 192.0.2.53 says proved; its slice.
fn proved(bench: &mut Bench, address: &str, further: &[&str]) -> (Process, Value) {
    let (zone, anchors) = signed(bench, further);
    // unbound has a `test` of its own, which is empty
    let resolver = unbound(
        bench,
        &format!(
            " interface: {address}\n local-zone: \"test.\" nodefault\nauth-zone:\n name: \"example.test.\"\n\
             \x20zonefile: \"{zone}\"\n for-downstream: yes\n for-upstream: no\n"
        ),
    );
    let mut slice = with_resolver(53);
    slice["validate"] = true.into();
    slice["settings"] = json!({ "trust_anchors": anchors });
    bench.write(&slice);
    bench.start();
    (resolver, slice)
}

#[test]
fn what_is_signed_is_proved_and_what_does_not_hold_is_not_given() {
    let mut bench = Bench::wired("dns-proof");
    let (resolver, mut slice) = proved(&mut bench, "192.0.2.53", &[]);
    let ask = |words: &str| dig(&bench.first, &format!("@10.1.1.1 {words}"));
    let good = ask("www.example.test");
    assert!(good.says("flags: qr rd ra ad;"), "{}\n{}", good.output.stdout, resolver.output());
    assert_eq!(good.answer(), "www.example.test. 300 IN A 192.0.2.80", "without its signature");
    ask("+dnssec www.example.test").expect("RRSIG").expect(" ad;");
    let alias = ask("alias.example.test");
    assert_eq!(alias.expect(" ad;").section("ANSWER").len(), 2);
    // names made of a wildcard, with the proof that nothing is closer; where that proof is the wildcard's own record, this
    // resolver writes it under the wrong name
    ask("+dnssec x.wild.example.test").expect("192.0.2.82").expect(" ad;").expect("NSEC");
    assert_eq!(ask("y.x.wild.example.test").expect(" ad;").section("ANSWER").len(), 1);
    ask("missing.example.test").expect("status: NXDOMAIN").expect(" ad;");
    ask("www.example.test AAAA").expect("status: NOERROR").expect("IN\tSOA");
    ask("bad.example.test").expect("status: SERVFAIL").expect("EDE: 6");
    ask("+cd bad.example.test").expect("192.0.2.99");
    // resolvers are believed where nobody asks for proof
    slice["validate"] = false.into();
    bench.write(&slice);
    bench.reload();
    dig(&bench.first, "@10.1.1.1 bad.example.test").expect("192.0.2.99");
}

#[test]
fn what_a_wildcard_has_and_has_not_is_proved_by_hashed_names_too() {
    let mut bench = Bench::wired("dns-nsec3");
    let (resolver, _) = proved(&mut bench, "192.0.2.53", &["-3", "-", "-H", "0"]);
    let ask = |words: &str| dig(&bench.first, &format!("@10.1.1.1 {words}"));
    let made = ask("+dnssec x.wild.example.test");
    assert!(made.says("192.0.2.82"), "{}\n{}", made.output.stdout, resolver.output());
    made.expect(" ad;").expect("NSEC3");
    // the wildcard is there and has no such type (RFC 5155 7.2.5): the proof has its own hashed name, which this resolver
    // writes as it is
    let none = ask("+dnssec x.wild.example.test MX");
    none.expect("status: NOERROR").expect(" ad;").expect("NSEC3").expect("IN\tSOA");
    assert!(none.section("ANSWER").is_empty());
    ask("missing.example.test").expect("status: NXDOMAIN").expect(" ad;");
    ask("www.example.test MX").expect("status: NOERROR").expect(" ad;");
    ask("bad.example.test").expect("status: SERVFAIL").expect("EDE: 6");
}

/// Sends a message to a resolver and waits for what it says.
fn said(resolver: &UdpSocket, message: &[u8]) -> Vec<u8> {
    resolver.send(message).unwrap();
    let mut answer = vec![0; 4096];
    let length = resolver.recv(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

/// The records at `name` with their signatures.
fn records(resolver: &UdpSocket, name: &str, rtype: RecordType) -> Vec<Record> {
    let mut question = Message::new(1, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    question.set_edns(edns);
    Message::from_vec(&said(resolver, &question.to_vec().unwrap())).unwrap().answers
}

#[test]
fn what_a_wildcard_has_not_is_proved_by_its_own_record() {
    let mut bench = Bench::wired("dns-nsec");
    let (resolver, _) = proved(&mut bench, "192.0.2.54", &[]);
    let behind = bench.outside.enter(|| {
        let socket = UdpSocket::bind("192.0.2.53:0").unwrap();
        socket.connect("192.0.2.54:53").unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        socket
    });
    let behind = behind.unwrap();
    // the resolver with the zone writes the wildcard's own NSEC record, which is this proof, under the name asked for. So the
    // answer is put together of the signer's records as it should be (RFC 4035 3.1.3.4)
    let _front = Resolver::start(&bench.outside, "192.0.2.53", false, move |asked| {
        let question = Message::from_vec(asked.message()).unwrap();
        let query = question.queries[0].clone();
        if asked.lower() != "x.wild.example.test" || query.query_type() != RecordType::MX {
            return Some(said(&behind, asked.message()));
        }
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.add_query(query);
        answer.authorities = [
            ("example.test.", RecordType::SOA),
            ("*.wild.example.test.", RecordType::NSEC),
            ("m.wild.example.test.", RecordType::NSEC),
        ]
        .into_iter()
        .flat_map(|(name, rtype)| records(&behind, name, rtype))
        .collect();
        answer.set_edns(question.edns.clone()?);
        Some(answer.to_vec().unwrap())
    });
    let ask = |words: &str| dig(&bench.first, &format!("@10.1.1.1 {words}"));
    let none = ask("+dnssec x.wild.example.test MX");
    assert!(none.says("status: NOERROR"), "{}\n{}", none.output.stdout, resolver.output());
    none.expect(" ad;").expect("IN\tSOA").expect("*.wild.example.test.");
    assert!(none.section("ANSWER").is_empty());
    ask("x.wild.example.test").expect("192.0.2.82").expect(" ad;");
}
