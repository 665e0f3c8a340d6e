//! The guests' own names, and who may ask for them.

use crate::bench::{Bench, dig};

#[test]
fn guests_find_each_other_by_name_and_by_address() {
    let bench = Bench::new("dns-names");
    let guest = &bench.first;
    let found = dig(guest, "@10.1.1.1 VM2.cs1.Cloud.internal A");
    found.expect("status: NOERROR").expect("flags: qr aa rd ra;");
    assert_eq!(found.answer(), "VM2.cs1.Cloud.internal. 30 IN A 10.1.1.24", "case is kept");
    let reverse = dig(guest, "@10.1.1.1 -x 10.1.1.24");
    assert_eq!(reverse.answer(), "24.1.1.10.in-addr.arpa. 30 IN PTR vm2.cs1.cloud.internal.");
    let gateway = dig(guest, "@10.1.1.1 -x 10.1.1.1");
    assert_eq!(gateway.answer(), "1.1.1.10.in-addr.arpa. 30 IN PTR r-1.cs1.cloud.internal.");
    let server = dig(guest, "@10.1.1.1 data-server.cs1.cloud.internal");
    assert_eq!(server.answer(), "data-server.cs1.cloud.internal. 30 IN A 10.1.1.1");
    let any = dig(guest, "@10.1.1.1 vm1.cs1.cloud.internal ANY");
    assert_eq!(any.answer(), "vm1.cs1.cloud.internal. 30 IN A 10.1.1.23");
    let tcp = dig(guest, "+tcp @10.1.1.1 vm1.cs1.cloud.internal");
    assert_eq!(tcp.answer(), "vm1.cs1.cloud.internal. 30 IN A 10.1.1.23");
}

#[test]
fn what_is_not_there_is_said_with_the_zone_s_soa() {
    let bench = Bench::new("dns-none");
    let guest = &bench.first;
    let soa = "cs1.cloud.internal. 5 IN SOA r-1.cs1.cloud.internal. hostmaster.cs1.cloud.internal. 1 3600 600 86400 5";
    let missing = dig(guest, "@10.1.1.1 vm9.cs1.cloud.internal");
    missing.expect("status: NXDOMAIN").expect("flags: qr aa rd ra;");
    assert_eq!(missing.section("AUTHORITY"), [soa]);
    let no_v6 = dig(guest, "@10.1.1.1 vm1.cs1.cloud.internal AAAA");
    no_v6.expect("status: NOERROR").expect("ANSWER: 0,");
    assert_eq!(no_v6.section("AUTHORITY"), [soa]);
    for other in ["TYPE65", "SRV", "MX", "CAA"] {
        let none = dig(guest, &format!("@10.1.1.1 vm1.cs1.cloud.internal {other}"));
        none.expect("status: NOERROR").expect("ANSWER: 0,");
        assert_eq!(none.section("AUTHORITY"), [soa], "{other}");
    }
    assert_eq!(dig(guest, "@10.1.1.1 cs1.cloud.internal SOA").answer(), soa);
    let ns = dig(guest, "@10.1.1.1 cs1.cloud.internal NS").answer();
    assert_eq!(ns, "cs1.cloud.internal. 30 IN NS r-1.cs1.cloud.internal.");
    dig(guest, "@10.1.1.1 -x 10.1.1.99").expect("status: NXDOMAIN").expect("1.1.10.in-addr.arpa.");
    dig(guest, "@10.1.1.1 -x 192.168.7.7").expect("status: NXDOMAIN");
    let transfer = dig(guest, "@10.1.1.1 cs1.cloud.internal AXFR");
    assert!(!transfer.says("10.1.1.23"), "{}", transfer.output.stdout);
    dig(guest, "@10.1.1.1 CH TXT version.bind").expect("status: REFUSED");
}

#[test]
fn edns_sizes_versions_and_options() {
    let bench = Bench::new("dns-edns");
    let guest = &bench.first;
    dig(guest, "+bufsize=4096 @10.1.1.1 vm1.cs1.cloud.internal").expect("udp: 1232");
    let plain = dig(guest, "+noedns @10.1.1.1 vm1.cs1.cloud.internal");
    assert!(!plain.says("OPT PSEUDOSECTION"), "{}", plain.output.stdout);
    dig(guest, "+edns=1 +noednsneg @10.1.1.1 vm1.cs1.cloud.internal").expect("status: BADVERS");
    let options = "+ednsopt=65001:abcd +cookie +subnet=198.51.100.0/24 +dnssec";
    let answer = dig(guest, &format!("{options} @10.1.1.1 vm1.cs1.cloud.internal"));
    answer.expect("status: NOERROR").expect("flags: do;");
    // what we do not have is not given back (RFC 7873 5.2.1, RFC 6891 6.1.2)
    for option in ["; COOKIE", "; CLIENT-SUBNET", "; OPT=65001"] {
        assert!(!answer.says(option), "{}", answer.output.stdout);
    }
    // less than 512 bytes is 512 (RFC 6891 6.2.3)
    dig(guest, "+bufsize=0 @10.1.1.1 vm1.cs1.cloud.internal").expect("10.1.1.23");
}

#[test]
fn a_stock_resolver_completes_bare_names_by_its_search_domain() {
    let bench = Bench::new("dns-search");
    bench.first.resolv_conf("search cs1.cloud.internal\nnameserver 10.1.1.1\n").unwrap();
    let found = bench.first.command(["getent", "ahostsv4", "vm2"]).check().unwrap();
    assert!(found.starts_with("10.1.1.24"), "{found}");
    let own = bench.first.command(["getent", "hosts", "10.1.1.24"]).check().unwrap();
    assert!(own.contains("vm2.cs1.cloud.internal"), "{own}");
    assert_ne!(bench.first.command(["getent", "ahostsv4", "vm9"]).run().unwrap().code, 0);
    dig(&bench.first, "@10.1.1.1 vm2").expect("status: NXDOMAIN");
}

#[test]
fn networks_see_their_own_domain_and_ask_their_own_gateway() {
    let bench = Bench::new("dns-apart");
    let db1 = dig(&bench.second, "@10.1.2.1 db1.cs2.cloud.internal");
    assert_eq!(db1.answer(), "db1.cs2.cloud.internal. 30 IN A 10.1.2.23");
    dig(&bench.first, "@10.1.1.1 db1.cs2.cloud.internal")
        .expect("status: REFUSED")
        .expect("EDE: 18");
    dig(&bench.first, "@10.1.1.1 -x 10.1.2.23").expect("status: REFUSED");
    for how in ["+notcp", "+tcp"] {
        let other = dig(&bench.first, &format!("+time=1 {how} @10.1.2.1 vm1.cs1.cloud.internal"));
        assert!(other.silent(), "{}", other.output.stdout);
    }
}

#[test]
fn the_public_side_gets_no_answer() {
    let bench = Bench::new("dns-open");
    for how in ["+notcp", "+tcp"] {
        for target in ["192.0.2.1", "10.1.1.1"] {
            let words = format!("+time=1 {how} @{target} vm1.cs1.cloud.internal");
            let answer = dig(&bench.outside, &words);
            assert!(answer.silent(), "{words}\n{}", answer.output.stdout);
        }
    }
    // not even with a guest's address for its source
    bench.outside.address(&crate::bench::link("eth0"), "10.1.1.66/32".parse().unwrap()).unwrap();
    let forged = dig(&bench.outside, "+time=1 -b 10.1.1.66 @10.1.1.1 vm1.cs1.cloud.internal");
    assert!(forged.silent(), "{}", forged.output.stdout);
}
