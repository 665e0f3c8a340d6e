//! Links and addresses that come, go and come back while the service runs.

use sluice_lab::Wait;

use crate::bench::{BOUND, Bench, dig, link, slice};

fn answered(bench: &Bench) -> bool {
    dig(&bench.first, "+time=1 @10.1.1.1 vm1.cs1.cloud.internal").says("10.1.1.23")
}

#[test]
fn a_link_that_appears_late_is_served() {
    let mut bench = Bench::wired("dns-late");
    bench.router.ip(["link", "del", "guest0"]).unwrap();
    bench.write(&slice());
    bench.start();
    assert!(bench.report()["missing"].to_string().contains("10.1.1.1"), "said in the report");
    dig(&bench.second, "@10.1.2.1 db1.cs2.cloud.internal").expect("10.1.2.23");
    bench.connect(&bench.first, "guest0", "10.1.1.1/24", "10.1.1.23/24");
    Wait::until(BOUND, "an answer on the new link", || answered(&bench)).unwrap();
    assert_eq!(bench.report()["missing"].to_string(), "[]");
}

#[test]
fn a_link_that_is_replaced_is_served_again() {
    let bench = Bench::new("dns-again");
    assert!(answered(&bench));
    bench.router.ip(["link", "del", "guest0"]).unwrap();
    bench.connect(&bench.first, "guest0", "10.1.1.1/24", "10.1.1.23/24");
    Wait::until(BOUND, "an answer on the replaced link", || answered(&bench)).unwrap();
}

#[test]
fn an_address_that_comes_after_its_socket_is_served() {
    let mut bench = Bench::wired("dns-free");
    bench.router.ip(["addr", "del", "10.1.1.1/24", "dev", "guest0"]).unwrap();
    bench.write(&slice());
    bench.start();
    assert_eq!(bench.report()["missing"].to_string(), "[]", "the socket is open already");
    bench.router.address(&link("guest0"), "10.1.1.1/24".parse().unwrap()).unwrap();
    Wait::until(BOUND, "an answer at the new address", || answered(&bench)).unwrap();
}
