//! Resolvers and clients as the field has them: old, filtered, careless, hostile. Each fault as a kind.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_lab::Wait;

use crate::bench::{BOUND, Bench, Dig, dig, link, slice};
use crate::scripted::{Resolver, a, record};

const FIRST: &str = "192.0.2.53";
const SECOND: &str = "192.0.2.54";
/// Soon: nothing was waited for in vain, which would take 0.4 s at least.
const SOON: Duration = Duration::from_millis(380);

/// A router with these upstreams, and its slice changed.
fn bench(test: &str, upstreams: &[&str], change: impl FnOnce(&mut Value)) -> Bench {
    let mut bench = Bench::wired(test);
    let mut slice = with_upstreams(upstreams);
    change(&mut slice);
    bench.write(&slice);
    bench.start();
    bench
}

fn with_upstreams(upstreams: &[&str]) -> Value {
    let mut slice = slice();
    slice["upstreams"] = upstreams.iter().map(|address| json!(format!("{address}:53"))).collect();
    slice
}

fn same(_: &mut Value) {}

/// Makes the router forget what it learned of the first resolver.
fn forget(bench: &mut Bench) {
    for upstream in [SECOND, FIRST] {
        bench.write(&with_upstreams(&[upstream]));
        bench.reload();
    }
}

fn ask(bench: &Bench, words: &str) -> Dig {
    dig(&bench.first, &format!("@10.1.1.1 {words}"))
}

#[track_caller]
fn soon(dig: &Dig) {
    assert!(dig.elapsed < SOON, "{:?}\n{}", dig.elapsed, dig.output.stdout);
}

#[track_caller]
fn none_down(bench: &mut Bench) {
    assert_eq!(bench.report()["upstreams_down"], json!([]));
}

#[test]
fn an_error_without_a_question_is_an_answer_and_not_a_silence() {
    let mut bench = bench("dns-bare", &[FIRST], same);
    let first = Resolver::start(&bench.outside, FIRST, true, |_| None);
    for (number, flags) in [0x8182, 0x8185, 0x8183, 0x8182].into_iter().enumerate() {
        first.becomes(move |asked| asked.bare(flags));
        let failed = ask(&bench, &format!("x{number}.test"));
        failed.expect("status: SERVFAIL");
        soon(&failed);
    }
    none_down(&mut bench);
}

#[test]
fn after_an_error_without_a_question_the_next_resolver_is_asked_at_once() {
    let mut bench = bench("dns-next", &[FIRST, SECOND], same);
    let _first = Resolver::start(&bench.outside, FIRST, true, |asked| asked.bare(0x8182));
    let _second = Resolver::start(&bench.outside, SECOND, true, |asked| asked.address(9));
    for number in 0..4 {
        let found = ask(&bench, &format!("x{number}.test"));
        found.expect("192.0.2.9");
        soon(&found);
    }
    none_down(&mut bench);
}

#[test]
fn a_resolver_that_cannot_read_edns_is_asked_without() {
    let mut bench = bench("dns-noedns", &[FIRST], same);
    let first = Resolver::start(&bench.outside, FIRST, true, |_| None);
    for (kind, flags, whole) in [("f", 0x8181, true), ("b", 0x8181, false), ("n", 0x8184, true)] {
        first.becomes(move |asked| match (asked.edns, whole) {
            (false, _) => asked.address(1),
            (true, true) => asked.reply(flags, [&[], &[]]),
            (true, false) => asked.bare(flags),
        });
        let before = first.asked().len();
        for number in 0..3 {
            let found = ask(&bench, &format!("{kind}{number}.test"));
            found.expect("192.0.2.1");
            soon(&found);
        }
        let asked = first.asked();
        let with = asked[before..].iter().filter(|asked| asked.edns).count();
        assert_eq!(with, 1, "remembered: {asked:#?}");
        forget(&mut bench);
    }
}

#[test]
fn a_filter_that_swallows_edns_is_found_out() {
    let mut bench = bench("dns-filter", &[FIRST], same);
    let _first = Resolver::start(&bench.outside, FIRST, true, |asked| {
        if asked.edns { None } else { asked.address(1) }
    });
    for number in 0..3 {
        let found = ask(&bench, &format!("x{number}.test"));
        found.expect("192.0.2.1");
        assert!(found.elapsed < Duration::from_secs(1), "{:?}", found.elapsed);
    }
    let found = ask(&bench, "x3.test");
    found.expect("192.0.2.1");
    soon(&found);
    none_down(&mut bench);
}

#[test]
fn an_alias_to_nowhere_is_believed_for_its_own_time() {
    let bench = bench("dns-alias", &[FIRST], same);
    let soa = record(6, 300, b"\0\0\0\0\0\x01\0\0\x0e\x10\0\0\x02\x58\0\x01\x51\x80\0\0\x01\x2c");
    let alias = record(5, 1, b"\x04gone\x04test\0");
    let first = Resolver::start(&bench.outside, FIRST, true, move |asked| {
        asked.reply(0x8183, [std::slice::from_ref(&alias), std::slice::from_ref(&soa)])
    });
    ask(&bench, "x.test").expect("status: NXDOMAIN").expect("CNAME");
    first.becomes(|asked| asked.address(7));
    Wait::until(BOUND, "the new address", || ask(&bench, "x.test").says("192.0.2.7")).unwrap();
    assert_eq!(first.asked().len(), 2);
}

#[test]
fn a_long_answer_without_edns_holds_what_fits() {
    let bench = bench("dns-long2", &[FIRST], same);
    let many: Vec<_> = (1..=40).map(|last| a(300, last)).collect();
    let _first = Resolver::start(&bench.outside, FIRST, true, move |asked| {
        asked.reply(0x8180, [&many, &[]])
    });
    for words in ["+noedns +ignore many.test", "+noedns +ignore many.test"] {
        let cut = ask(&bench, words);
        cut.expect(" tc ");
        let held = cut.section("ANSWER").len();
        assert!((25..40).contains(&held), "{held} of 40");
    }
    assert_eq!(ask(&bench, "+bufsize=1232 many.test").section("ANSWER").len(), 40);
    assert_eq!(ask(&bench, "+noedns many.test").section("ANSWER").len(), 40, "by TCP");
}

#[test]
fn a_resolver_that_does_not_keep_the_case_is_asked_plainly() {
    for tcp in [true, false] {
        let name = if tcp { "dns-case-t" } else { "dns-case-u" };
        let mut bench = bench(name, &[FIRST], same);
        let first =
            Resolver::start(&bench.outside, FIRST, tcp, |asked| asked.lowered()?.address(3));
        let asked = |number| ask(&bench, &format!("some-long-name-{number}.test"));
        for number in 0..5 {
            asked(number).expect("192.0.2.3");
        }
        let last = first.asked();
        let last = last.last().unwrap();
        assert_eq!((last.name.clone(), last.tcp), (last.lower(), false), "remembered");
        none_down(&mut bench);
    }
}

#[test]
fn mixed_case_can_be_switched_off_for_a_site() {
    let bench = bench("dns-case-off", &[FIRST], |slice| {
        slice["settings"] = json!({ "mixed_case": false });
    });
    let _first = Resolver::start(&bench.outside, FIRST, true, |asked| {
        if asked.name == asked.lower() { asked.address(4) } else { asked.reply(0x8183, [&[], &[]]) }
    });
    for number in 0..4 {
        ask(&bench, &format!("Some-Long-Name-{number}.test")).expect("192.0.2.4");
    }
}

#[test]
fn with_tcp_closed_what_came_is_handed_on_and_nobody_is_called_down() {
    let mut bench = bench("dns-notcp", &[FIRST], same);
    let many: Vec<_> = (1..=3).map(|last| a(300, last)).collect();
    let _first = Resolver::start(&bench.outside, FIRST, false, move |asked| {
        if asked.lower().starts_with("big") {
            asked.reply(0x8380, [&many, &[]])
        } else {
            asked.address(5)
        }
    });
    for number in 0..3 {
        let cut = ask(&bench, &format!("+ignore big{number}.test"));
        cut.expect(" tc ");
        assert_eq!(cut.section("ANSWER").len(), 3);
        soon(&cut);
        ask(&bench, &format!("+tcp big{number}.test")).expect("status: SERVFAIL").expect("EDE: 23");
    }
    none_down(&mut bench);
    ask(&bench, "small.test").expect("192.0.2.5");
}

#[test]
fn private_reverse_names_go_where_the_operator_says() {
    let bench = bench("dns-reverse", &[FIRST], |slice| {
        slice["forward"] = json!([
            { "zone": "10.in-addr.arpa" },
            { "zone": "corp", "upstreams": [format!("{SECOND}:53")] },
        ]);
    });
    let mail = || record(12, 300, b"\x04mail\x04corp\0");
    let _first = Resolver::start(&bench.outside, FIRST, true, move |asked| {
        asked.reply(0x8180, [&[mail()], &[]])
    });
    let _second = Resolver::start(&bench.outside, SECOND, true, |asked| asked.address(6));
    ask(&bench, "-x 10.9.9.9").expect("mail.corp.");
    ask(&bench, "-x 10.1.1.24").expect("vm2.cs1.cloud.internal.");
    ask(&bench, "-x 192.168.9.9").expect("status: NXDOMAIN");
    ask(&bench, "mail.corp").expect("192.0.2.6");
}

#[test]
fn networks_may_have_resolvers_of_their_own() {
    let bench = bench("dns-own", &[FIRST], |slice| {
        slice["networks"][1]["upstreams"] = json!([format!("{SECOND}:53")]);
    });
    let _first = Resolver::start(&bench.outside, FIRST, true, |asked| asked.address(1));
    let _second = Resolver::start(&bench.outside, SECOND, true, |asked| asked.address(2));
    for _ in 0..2 {
        ask(&bench, "x.test").expect("192.0.2.1");
        dig(&bench.second, "@10.1.2.1 x.test").expect("192.0.2.2");
    }
}

#[test]
fn a_subnet_behind_a_guest_is_answered_where_it_is_named() {
    for named in [true, false] {
        let name = if named { "dns-behind" } else { "dns-behind-n" };
        let bench = bench(name, &[FIRST], |slice| {
            if named {
                slice["networks"][0]["clients"] = json!(["10.50.0.0/24"]);
            }
        });
        bench.first.address(&link("eth0"), "10.50.0.7/32".parse().unwrap()).unwrap();
        bench.router.route(["10.50.0.0/24", "via", "10.1.1.23"]).unwrap();
        let asked = ask(&bench, "+time=1 -b 10.50.0.7 vm1.cs1.cloud.internal");
        assert_eq!(asked.silent(), !named, "{}", asked.output.stdout);
    }
}

#[test]
fn names_that_lead_nowhere_are_not_handed_to_guests() {
    let mut bench = bench("dns-loop", &[FIRST], same);
    let first = Resolver::start(&bench.outside, FIRST, true, |_| None);
    for kind in ["owner", "target"] {
        first.becomes(move |asked| {
            let at = u8::try_from(asked.records_at()).unwrap();
            let record = match kind {
                "owner" => [&[0xc0, at][..], &a(300, 1)[2..]].concat(),
                _ => record(5, 300, &[0xc0, at + 12]),
            };
            asked.reply(0x8180, [&[record], &[]])
        });
        let failed = ask(&bench, &format!("{kind}.test"));
        failed.expect("status: SERVFAIL");
        soon(&failed);
    }
    none_down(&mut bench);
}

#[test]
fn a_time_to_live_with_the_top_bit_is_zero_for_all() {
    let bench = bench("dns-ttl", &[FIRST], same);
    let first = Resolver::start(&bench.outside, FIRST, true, |asked| {
        asked.reply(0x8180, [&[a(0x8000_0000, 1)], &[]])
    });
    for count in 1..3 {
        assert_eq!(ask(&bench, "x.test").answer(), "x.test. 0 IN A 192.0.2.1");
        assert_eq!(first.asked().len(), count);
    }
}

#[test]
fn four_hundred_questions_at_once_are_all_answered() {
    let bench = bench("dns-burst", &[FIRST], same);
    let _first = Resolver::start(&bench.outside, FIRST, true, |asked| {
        std::thread::sleep(Duration::from_millis(1));
        asked.address(8)
    });
    let names: String = (0..400).map(|number| format!("b{number}.test A\n")).collect();
    let file = bench.path("names");
    std::fs::write(&file, names).unwrap();
    // all of them before the first answer: one socket, no waiting
    let script =
        format!("exec 2>&1; dnsperf -s 10.1.1.1 -d {} -c 1 -T 1 -q 400 -n 1 -t 5", file.display());
    let printed = bench.first.sh(&script).check().unwrap();
    assert!(printed.contains("NOERROR 400 (100.00%)"), "{printed}");
}
