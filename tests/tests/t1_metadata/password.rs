//! The password server and its protocol.

use sluice_lab::netns::Namespace;

use crate::bench::{Bench, curl, passwords};

fn say(guest: &Namespace, request: &str) -> (u32, String) {
    curl(guest, &["-H", &format!("DomU_Request: {request}"), "http://10.1.1.1:8080/"])
}

fn said(text: &str) -> (u32, String) {
    (200, text.to_owned())
}

#[test]
fn a_password_is_handed_out_once_to_its_guest() {
    let mut bench = Bench::wired("pw-once");
    bench.serve("password", &passwords("s3cret-One"));
    assert_eq!(say(&bench.second, "send_my_password"), said("saved_password"), "not vm2's");
    assert_eq!(bench.counters("password")["passwords_waiting"], 1);
    assert_eq!(say(&bench.first, "send_my_password"), said("s3cret-One"));
    assert_eq!(say(&bench.second, "saved_password"), said("saved_password"));
    assert_eq!(bench.counters("password")["passwords_sent"], 1, "vm2 cannot say it for vm1");
    assert_eq!(say(&bench.first, "saved_password"), said("saved_password"));
    assert_eq!(say(&bench.first, "send_my_password"), said("saved_password"));
    assert_eq!(bench.counters("password")["passwords_acknowledged"], 1);
    // the same configuration again, then another password
    bench.change("password", &passwords("s3cret-One"));
    assert_eq!(say(&bench.first, "send_my_password"), said("saved_password"));
    bench.change("password", &passwords("s3cret-Two"));
    assert_eq!(say(&bench.first, "send_my_password"), said("s3cret-Two"));
    let log = bench.server("password").output();
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn wget_as_guests_scripts_use_it() {
    let mut bench = Bench::wired("pw-wget");
    bench.serve("password", &passwords("s3cret-One"));
    let wget = |request: &str| {
        let header = format!("DomU_Request: {request}");
        let words = ["wget", "-q", "-t", "3", "-T", "20", "-O", "-", "--header", &header];
        let all = words.iter().chain(&["10.1.1.1:8080"]);
        bench.first.command(all).check().unwrap()
    };
    assert_eq!(wget("send_my_password"), "s3cret-One");
    assert_eq!(wget("saved_password"), "saved_password");
    assert_eq!(wget("send_my_password"), "saved_password");
}

#[test]
fn whatever_is_not_the_protocol_is_refused() {
    let mut bench = Bench::wired("pw-bad");
    bench.serve("password", &passwords("s3cret-One"));
    let bad = (400, "bad_request".to_owned());
    assert_eq!(say(&bench.first, "save_password"), bad);
    assert_eq!(curl(&bench.first, &["http://10.1.1.1:8080/"]), bad);
    let header = ["-H", "DomU_Request: send_my_password"];
    for more in [&["http://10.1.1.1:8080/x"][..], &["-X", "POST", "http://10.1.1.1:8080/"]] {
        assert_eq!(curl(&bench.first, &[&header, more].concat()), bad);
    }
    let twice = ["-H", "DomU_Request: saved_password", "http://10.1.1.1:8080/"];
    assert_eq!(curl(&bench.first, &[&header[..], &twice].concat()), bad);
    assert_eq!(bench.counters("password")["passwords_waiting"], 1);
}

#[test]
fn who_takes_anothers_address_is_not_given_its_password() {
    let mut bench = Bench::wired("pw-spoof");
    bench.serve("password", &passwords("s3cret-One"));
    // vm2 takes vm1's address, while vm1 is down
    bench.first.ip(["link", "set", "eth0", "down"]).unwrap();
    bench.second.ip(["addr", "flush", "dev", "eth0"]).unwrap();
    let own = "10.1.1.23/24".parse().unwrap();
    bench.second.address(&crate::bench::link("eth0"), own).unwrap();
    assert_eq!(say(&bench.second, "send_my_password"), (0, String::new()));
    let counters = bench.counters("password");
    assert_eq!(
        (&counters["passwords_waiting"], &counters["strangers_mac"]),
        (&1.into(), &1.into())
    );
    // neither is who takes an address that nobody has
    bench.second.ip(["addr", "flush", "dev", "eth0"]).unwrap();
    let nobody = "10.1.1.99/24".parse().unwrap();
    bench.second.address(&crate::bench::link("eth0"), nobody).unwrap();
    assert_eq!(say(&bench.second, "send_my_password"), (0, String::new()));
    assert_eq!(bench.counters("password")["strangers_address"], 1);
}
