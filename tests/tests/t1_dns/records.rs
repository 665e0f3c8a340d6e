//! Records of the operator's own, floods, and a client that has no TCP.

use serde_json::json;

use crate::bench::{BOUND, Bench, dig, lines, slice};

/// What kdig prints of an answer in short form.
fn kdig(bench: &Bench, words: &str) -> String {
    let line = format!("kdig +short +timeout=6 +retry=0 @10.1.1.1 {words}");
    bench.first.command(line.split_whitespace()).run().unwrap().stdout
}

#[test]
fn kdig_reads_records_of_every_type() {
    let mut bench = Bench::wired("dns-records");
    let mut slice = slice();
    slice["networks"][0]["records"] = json!([
        { "name": "www.cs1.cloud.internal", "data": { "cname": "vm1.cs1.cloud.internal" } },
        { "name": "vm2.cs1.cloud.internal", "data": { "aaaa": "2001:db8::24" } },
        { "name": "_sip._udp.cs1.cloud.internal",
          "data": { "srv": { "priority": 1, "weight": 2, "port": 5060, "target": "vm2.cs1.cloud.internal" } } },
        { "name": "cs1.example", "data": { "mx": { "preference": 10, "exchange": "mail.example" } } },
        { "name": "cs1.example", "data": { "txt": "v=spf1 -all" } },
    ]);
    bench.write(&slice);
    bench.start();
    assert_eq!(kdig(&bench, "www.cs1.cloud.internal A"), "vm1.cs1.cloud.internal.\n10.1.1.23\n");
    assert_eq!(kdig(&bench, "vm2.cs1.cloud.internal AAAA"), "2001:db8::24\n");
    assert_eq!(kdig(&bench, "vm2.cs1.cloud.internal A"), "10.1.1.24\n");
    assert_eq!(
        kdig(&bench, "_sip._udp.cs1.cloud.internal SRV"),
        "1 2 5060 vm2.cs1.cloud.internal.\n"
    );
    assert_eq!(kdig(&bench, "cs1.example MX"), "10 mail.example.\n");
    assert_eq!(kdig(&bench, "+tcp cs1.example TXT"), "\"v=spf1 -all\"\n");
    // a change is in force in place
    slice["networks"][0]["records"][0]["data"]["cname"] = "vm2.cs1.cloud.internal".into();
    bench.write(&slice);
    bench.reload();
    assert_eq!(kdig(&bench, "www.cs1.cloud.internal A"), "vm2.cs1.cloud.internal.\n10.1.1.24\n");
}

#[test]
fn a_guest_that_floods_is_held_to_its_rate_and_its_neighbour_is_answered() {
    let mut bench = Bench::wired("dns-flood");
    let mut slice = slice();
    slice["settings"] = json!({ "client_rate": 200 });
    bench.write(&slice);
    bench.start();
    let file = bench.path("queries");
    std::fs::write(&file, lines(100, |n| format!("x{n}.cs1.cloud.internal A"))).unwrap();
    let line = format!("exec dnsperf -s 10.1.1.1 -d {} -l 4 -c 8 -q 2000 -t 1", file.display());
    let mut flood = bench.first.spawn(["sh", "-c", &line]).unwrap();
    for _ in 0..20 {
        assert!(dig(&bench.second, "@10.1.2.1 db1.cs2.cloud.internal").says("10.1.2.23"));
    }
    flood.says("Average Latency", BOUND).unwrap();
    let counts = bench.report()["counts"].clone();
    assert!(counts["limited"].as_u64() > Some(1000), "{counts}");
    // a burst and a few seconds' worth, and the neighbour's
    assert!(counts["local"].as_u64() < Some(4000), "{counts}");
    assert!(dig(&bench.first, "+tries=3 @10.1.1.1 vm1.cs1.cloud.internal").says("10.1.1.23"));
}

/// `getaddrinfo` of musl, the C library of Alpine: before 1.2.4 it has no TCP and takes what a cut answer holds, and takes "no
/// such name" of one type for that of all.
const LOOK_UP: &str = r#"
#include <netdb.h>
#include <stdio.h>
int main(int count, char **words) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
    int error = getaddrinfo(words[1], "80", &hints, &found);
    if (error) { printf("error %s\n", gai_strerror(error)); return 1; }
    int all = 0;
    for (; found; found = found->ai_next) all++;
    printf("%d addresses\n", all);
    return 0;
}
"#;

#[test]
fn the_resolver_of_alpine_finds_guests_and_names_with_forty_addresses() {
    let mut bench = Bench::wired("dns-musl");
    let mut slice = slice();
    let many = (1..=40)
        .map(|n| json!({ "name": "many.example", "data": { "a": format!("192.0.2.{n}") } }));
    slice["networks"][0]["records"] = many.collect();
    bench.write(&slice);
    bench.start();
    let (source, program) = (bench.path("look.c"), bench.path("look"));
    std::fs::write(&source, LOOK_UP).unwrap();
    let [source, program] = [source, program].map(|path| path.display().to_string());
    let built =
        bench.first.command(["musl-gcc", "-static", "-o", &program, &source]).run().unwrap();
    assert!(built.ok(), "{}", built.stderr);
    bench.first.resolv_conf("nameserver 10.1.1.1\nsearch cs1.cloud.internal\n").unwrap();
    let look = |name: &str| bench.first.command([program.as_str(), name]).run().unwrap().stdout;
    assert_eq!(look("vm1"), "1 addresses\n");
    assert_eq!(look("vm1.cs1.cloud.internal"), "1 addresses\n");
    assert_eq!(look("data-server."), "1 addresses\n");
    // as many as fit into 512 bytes, or all of them
    let many = look("many.example");
    let count: u32 = many.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{many}"));
    assert!((20..=40).contains(&count), "{many}");
}
