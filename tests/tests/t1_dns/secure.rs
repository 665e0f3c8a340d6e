//! Resolvers that are asked over TLS, and whose answers are proved.

use serde_json::{Value, json};
use sluice_lab::netns::Process;

use crate::bench::{BOUND, Bench, dig, slice};

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

#[test]
fn a_resolver_is_asked_over_tls_and_one_that_cannot_prove_itself_is_not() {
    let mut bench = Bench::wired("dns-tls");
    let (key, certificate) = (path(&bench, "key.pem"), path(&bench, "certificate.pem"));
    made(
        &bench,
        &[
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=dns.example",
            "-addext",
            "subjectAltName=DNS:dns.example",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ],
    );
    let resolver = unbound(
        &bench,
        &format!(
            " interface: 192.0.2.53@853\n tls-service-key: {key}\n tls-service-pem: {certificate}\n\
             local-zone: \"example.test.\" static\n local-data: \"www.example.test. 300 IN A 192.0.2.80\"\n"
        ),
    );
    let mut slice = with_resolver(853);
    let authorities = std::fs::read_to_string(&certificate).unwrap();
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

const ZONE: &str = "$ORIGIN example.test.\n$TTL 300\n@ SOA ns h 1 3600 600 86400 30\n@ NS ns\nns A 192.0.2.53\n\
    www A 192.0.2.80\nalias CNAME www\nbad A 192.0.2.81\n*.wild A 192.0.2.82\n\
    m.wild A 192.0.2.83\n";

/// `example.test`, signed, with `bad` changed behind the signer's back; the key that its proofs begin with.
fn signed(bench: &Bench) -> (String, String) {
    let (zone, keys, out) = (path(bench, "zone"), path(bench, "keys"), path(bench, "signed"));
    std::fs::write(&zone, ZONE).unwrap();
    std::fs::create_dir(&keys).unwrap();
    let algorithm = ["dnssec-keygen", "-q", "-K", &keys, "-a", "ECDSAP256SHA256"];
    let key = made(bench, &[&algorithm[..], &["-f", "KSK", "example.test"]].concat());
    let other = made(bench, &[&algorithm[..], &["example.test"]].concat());
    made(
        bench,
        &[
            "dnssec-signzone",
            "-q",
            "-S",
            "-K",
            &keys,
            "-d",
            &keys,
            "-o",
            "example.test",
            "-f",
            &out,
            &zone,
        ],
    );
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

#[test]
fn what_is_signed_is_proved_and_what_does_not_hold_is_not_given() {
    let mut bench = Bench::wired("dns-proof");
    let (zone, anchor) = signed(&bench);
    // unbound has a `test` of its own, which is empty
    let resolver = unbound(
        &bench,
        &format!(
            " interface: 192.0.2.53\n local-zone: \"test.\" nodefault\nauth-zone:\n name: \"example.test.\"\n\
             \x20zonefile: \"{zone}\"\n for-downstream: yes\n for-upstream: no\n"
        ),
    );
    let mut slice = with_resolver(53);
    slice["validate"] = true.into();
    slice["settings"] = json!({ "trust_anchors": anchor });
    bench.write(&slice);
    bench.start();
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
