//! Links that come, go and are replaced; configurations that change while serving.

use std::time::Instant;

use dhcproto::v4::MessageType;

use super::bench::{Bench, STRANGER, VM1, VM2, mac, reservation, slice};
use super::raw::RawClient;

fn is_answered(client: &mut RawClient, who: &str, address: &str) {
    let discover = client.message(MessageType::Discover, who, &[]);
    let offer = client.ask(&discover);
    assert_eq!(offer.message.yiaddr().to_string(), address);
}

#[test]
fn a_link_that_appears_late_is_served() {
    let mut bench = Bench::empty("late");
    bench.write(&slice());
    bench.start();
    bench.await_log("dhcp link not open, will try again link=guest0");
    let guest = bench.guest("late-a", "guest0", 1, VM1);
    bench.await_link("guest0");
    is_answered(&mut RawClient::new(&guest), VM1, "10.1.1.23");
}

#[test]
fn a_link_that_is_replaced_is_opened_again() {
    let (mut bench, guest, _) = Bench::new("flap");
    bench.router.ip(["link", "del", "guest0"]).unwrap();
    bench.await_log("dhcp link lost, will open it again link=guest0");
    bench.connect(&guest, "guest0", 1, VM1);
    let opened = |log: &str| log.matches("dhcp link open link=guest0").count();
    let again = || opened(&bench.log()) == 2;
    sluice_lab::Wait::until(super::bench::BOUND, "the link to be open again", again).unwrap();
    is_answered(&mut RawClient::new(&guest), VM1, "10.1.1.23");
}

#[test]
fn a_link_that_goes_down_and_up_is_served_on() {
    let (bench, guest, _) = Bench::new("updown");
    for state in ["down", "up"] {
        bench.router.ip(["link", "set", "guest0", state]).unwrap();
    }
    let up = || bench.router.ip(["link", "show", "guest0"]).unwrap().contains("state UP");
    sluice_lab::Wait::until(super::bench::BOUND, "carrier", up).unwrap();
    is_answered(&mut RawClient::new(&guest), VM1, "10.1.1.23");
}

#[test]
fn a_new_configuration_is_answered_from_at_once() {
    let (mut bench, guest, _) = Bench::new("swap");
    let mut client = RawClient::new(&guest);
    let discover = client.message(MessageType::Discover, STRANGER, &[]);
    client.ask_in_vain(&discover, VM1);
    let mut next = slice();
    next.networks[0].guests.push(reservation((STRANGER, "10.1.1.99", "vm99")));
    next.networks[0].guests.retain(|guest| guest.mac != mac(VM2));
    bench.reload(&next);
    is_answered(&mut client, STRANGER, "10.1.1.99");
    let discover = client.message(MessageType::Discover, VM2, &[]);
    client.ask_in_vain(&discover, VM1);
    assert_eq!(bench.log().matches("dhcp link open link=guest0").count(), 1);
}

#[test]
fn a_slice_that_cannot_be_read_leaves_the_old_one() {
    let (mut bench, guest, _) = Bench::new("badslice");
    std::fs::write(bench.path("slice.json"), b"{").unwrap();
    bench.server().signal(nix::sys::signal::Signal::SIGHUP).unwrap();
    bench.await_log("dhcp slice not loaded, the old one stays");
    is_answered(&mut RawClient::new(&guest), VM1, "10.1.1.23");
}

#[test]
fn no_message_is_lost_while_configurations_of_2000_guests_come_in() {
    let (mut bench, guest, _) = Bench::new("storm");
    let mut client = RawClient::new(&guest);
    let mut next = slice();
    next.networks[0].cidr = "10.1.0.0/16".parse().unwrap();
    for number in 0..2000_u16 {
        let [high, low] = number.to_be_bytes();
        let who = format!("02:00:00:01:{high:02x}:{low:02x}");
        let address = format!("10.1.{}.{}", 16 + number / 250, 1 + number % 250);
        let guest = (who.as_str(), address.as_str(), &*format!("g{number}"));
        next.networks[0].guests.push(reservation(guest));
    }
    let mut asked = 0;
    for _ in 0..10 {
        let before = Instant::now();
        bench.begin_reload(&next);
        // each message that is lost is a question that nobody answers
        while !bench.is_in_force() {
            is_answered(&mut client, VM1, "10.1.1.23");
            asked += 1;
        }
        eprintln!("read, built and put in force: {:?}", before.elapsed());
        is_answered(&mut client, "02:00:00:01:07:cf", "10.1.23.250");
    }
    assert!(asked >= 10, "{asked} questions while they came in");
}
