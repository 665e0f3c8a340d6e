//! Names of the rest of the world, through two real resolvers.

use std::time::Duration;

use sluice_lab::Wait;
use sluice_lab::netns::Process;

use crate::bench::{BOUND, Bench, NUMBERED, dig};

/// How often `resolver` says that it was asked for `name`, in whatever case.
fn asked(resolver: &Process, name: &str) -> usize {
    let wanted = |line: &&str| line.to_ascii_lowercase().contains(name) && !line.contains("reply");
    resolver.output().lines().filter(wanted).count()
}

#[test]
fn answers_come_from_upstream_once_and_then_from_the_cache() {
    let mut bench = Bench::new("dns-cache");
    let (unbound, _dnsmasq) = (bench.unbound(), bench.dnsmasq());
    let first = dig(&bench.first, "@10.1.1.1 www.example.test");
    first.expect("flags: qr rd ra;");
    assert_eq!(first.answer(), "www.example.test. 300 IN A 192.0.2.80");
    let other_case = dig(&bench.second, "@10.1.2.1 WWW.Example.test");
    assert!(other_case.answer().starts_with("WWW.Example.test. "), "{}", other_case.answer());
    dig(&bench.first, "+tcp @10.1.1.1 www.example.test").expect("192.0.2.80");
    assert_eq!(asked(&unbound, "www.example.test"), 1, "{}", unbound.output());
    for _ in 0..3 {
        let missing = dig(&bench.first, "@10.1.1.1 missing.example.test");
        missing.expect("status: NXDOMAIN").expect("IN\tSOA");
        dig(&bench.first, "@10.1.1.1 www.example.test AAAA").expect("status: NOERROR");
    }
    assert_eq!(asked(&unbound, "missing.example.test"), 1, "no such name is cached too");
    assert_eq!(asked(&unbound, "www.example.test"), 2, "and so is no such type");
    Wait::until(BOUND, "the time to live counting down", || {
        let answer = dig(&bench.first, "@10.1.1.1 www.example.test").answer();
        answer.split(' ').nth(1).is_some_and(|ttl| ttl.parse::<u32>().unwrap() < 300)
    })
    .unwrap();
    let counts = bench.report()["counts"].clone();
    assert!(counts["hits"].as_u64() >= Some(6) && counts["misses"].as_u64() == Some(3), "{counts}");
}

#[test]
fn long_answers_come_over_tcp() {
    let bench = Bench::new("dns-long");
    let _unbound = bench.unbound();
    let cut = dig(&bench.first, "+ignore +bufsize=1232 @10.1.1.1 big.example.test TXT");
    cut.expect("flags: qr tc rd ra;");
    let held = cut.section("ANSWER").len();
    assert!((1..12).contains(&held), "whole records as far as they fit: {held}");
    let whole = dig(&bench.first, "@10.1.1.1 big.example.test TXT");
    assert_eq!(whole.section("ANSWER").len(), 12);
    dig(&bench.first, "+noedns +ignore @10.1.1.1 big.example.test TXT").expect(" tc ");
}

#[test]
fn dnssec_bits_pass() {
    let bench = Bench::new("dns-bits");
    let unbound = bench.unbound();
    dig(&bench.first, "+dnssec +cd @10.1.1.1 www.example.test").expect(" cd").expect("flags: do;");
    let plain = dig(&bench.first, "@10.1.1.1 www.example.test");
    assert!(!plain.says("flags: do;") && !plain.says(" cd"), "{}", plain.output.stdout);
    assert_eq!(asked(&unbound, "www.example.test"), 2, "other bits are another question");
}

#[test]
fn a_dead_resolver_is_passed_over_and_taken_back() {
    let mut bench = Bench::new("dns-fail");
    let (mut unbound, dnsmasq) = (bench.unbound(), bench.dnsmasq());
    let mut numbers = 0..NUMBERED;
    let mut ask = |bench: &Bench| {
        let name = format!("n{}.example.test", numbers.next().expect("a fresh name"));
        dig(&bench.first, &format!("@10.1.1.1 {name} TXT"))
    };
    ask(&bench).expect("\"first\"");
    // without a host at the address there is no port-unreachable message to learn from
    bench.outside.ip(["addr", "del", "192.0.2.53/24", "dev", "eth0"]).unwrap();
    bench.outside.ip(["addr", "add", "192.0.2.54/24", "dev", "eth0"]).ok();
    bench.outside.route(["10.0.0.0/8", "via", "192.0.2.1"]).ok();
    unbound.kill();
    let over = ask(&bench);
    over.expect("\"second\"");
    assert!(over.elapsed < Duration::from_secs(2), "{:?}", over.elapsed);
    let down = |bench: &mut Bench| bench.report()["upstreams_down"].to_string();
    Wait::until(BOUND, "the dead resolver known as down", || {
        ask(&bench).expect("\"second\"");
        down(&mut bench).contains("192.0.2.53")
    })
    .unwrap();
    let swift = ask(&bench);
    assert!(swift.elapsed < Duration::from_millis(350), "{:?}", swift.elapsed);
    bench.outside.address(&crate::bench::link("eth0"), "192.0.2.53/24".parse().unwrap()).unwrap();
    let _unbound = bench.unbound();
    Wait::until(BOUND, "the first resolver in use again", || ask(&bench).says("\"first\""))
        .unwrap();
    assert_eq!(down(&mut bench), "[]", "{}", dnsmasq.output());
}

#[test]
fn without_any_resolver_failure_is_said_in_time() {
    let bench = Bench::new("dns-dead");
    let failed = dig(&bench.first, "@10.1.1.1 www.example.test");
    failed.expect("status: SERVFAIL").expect("EDE: 22");
    assert!(failed.elapsed < Duration::from_secs(5), "{:?}", failed.elapsed);
    dig(&bench.first, "@10.1.1.1 vm1.cs1.cloud.internal").expect("10.1.1.23");
}

#[test]
fn without_upstreams_foreign_names_are_refused() {
    let mut bench = Bench::wired("dns-alone");
    let mut slice = crate::bench::slice();
    slice["upstreams"] = serde_json::json!([]);
    bench.write(&slice);
    bench.start();
    let refused = dig(&bench.first, "@10.1.1.1 www.example.test");
    refused.expect("status: REFUSED").expect("flags: qr rd;").expect("EDE: 20");
}

#[test]
fn the_same_question_of_many_clients_goes_upstream_once() {
    let bench = Bench::new("dns-join");
    let mut unbound = bench.unbound();
    // held still, so that all of them wait
    unbound.signal(nix::sys::signal::Signal::SIGSTOP).unwrap();
    let script = "for i in 1 2 3 4 5 6 7 8; do dig +tries=1 +time=6 +short @10.1.1.1 n7.example.test TXT & done; wait";
    let answers = std::thread::scope(|scope| {
        let clients = scope.spawn(|| bench.first.sh(script).check().unwrap());
        // both the waiting question and its first retry are in the stopped resolver's queue
        Wait::until(BOUND, "the question at the resolver", || {
            bench.outside.sh("ss -Hlun src 192.0.2.53").check().unwrap().split_whitespace().nth(1)
                != Some("0")
        })
        .unwrap();
        unbound.signal(nix::sys::signal::Signal::SIGCONT).unwrap();
        clients.join().unwrap()
    });
    assert_eq!(answers.matches("\"first\"").count(), 8, "{answers}");
    unbound.says("n7.example.test", BOUND).ok();
    assert!(asked(&unbound, "n7.example.test") <= 3, "{}", unbound.output());
}
