//! Loss, delay, jitter and cuts, with time given by the test.

use std::time::Duration;

use super::super::core::{PortSettings, QUEUE_LIMIT, WireCore};
use super::super::impair::{DELAY_LIMIT_MS, Impairment, ImpairmentError, Percent};
use super::super::switch::PortId;
use super::{BROADCAST, frame, mac};

const START: Duration = Duration::ZERO;

fn wire(impairment: Impairment) -> (WireCore, PortId, PortId) {
    let mut core = WireCore::new(impairment, 7);
    let left = core.add_port(PortSettings::default());
    let right = core.add_port(PortSettings::default());
    (core, left, right)
}

fn loss(percent: f64) -> Impairment {
    let loss_percent = Percent::new(percent).expect("in range");
    Impairment { loss_percent, ..Impairment::default() }
}

fn delivered(core: &mut WireCore, now: Duration) -> usize {
    std::iter::from_fn(|| core.pop_due(now)).count()
}

#[test]
fn a_clean_wire_delivers_at_once() {
    let (mut core, left, right) = wire(Impairment::default());
    let sent = frame(BROADCAST, mac(1), None, b"x");
    assert_eq!(core.offer(START, left, &sent), Some(sent.clone()));
    let got = core.pop_due(START).expect("delivered");
    assert_eq!((got.to, got.frame), (right, sent));
}

#[test]
fn delay_holds_frames_back_in_order() {
    let (mut core, left, _) = wire(Impairment { delay_ms: 30, ..Impairment::default() });
    for payload in [b"1", b"2", b"3"] {
        core.offer(START, left, &frame(BROADCAST, mac(1), None, payload));
    }
    assert_eq!(core.next_due(), Some(Duration::from_millis(30)));
    assert_eq!(core.pop_due(Duration::from_millis(29)), None);
    let order: Vec<u8> = std::iter::from_fn(|| core.pop_due(Duration::from_millis(30)))
        .filter_map(|delivery| delivery.frame.last().copied())
        .collect();
    assert_eq!(order, b"123");
}

#[test]
fn jitter_stays_within_its_bound() {
    let jitter = Impairment { delay_ms: 5, jitter_ms: 10, ..Impairment::default() };
    let (mut core, left, _) = wire(jitter);
    for _ in 0..200 {
        core.offer(START, left, &frame(BROADCAST, mac(1), None, b""));
    }
    assert_eq!(delivered(&mut core, Duration::from_millis(4)), 0);
    assert_eq!(delivered(&mut core, Duration::from_millis(15)), 200);
}

#[test]
fn loss_takes_about_its_share_and_is_the_same_for_a_seed() {
    let counts: Vec<u64> = (0..2)
        .map(|_| {
            let (mut core, left, _) = wire(loss(25.0));
            for _ in 0..4000 {
                core.offer(START, left, &frame(BROADCAST, mac(1), None, b""));
                delivered(&mut core, START);
            }
            core.counters().lost
        })
        .collect();
    assert_eq!(counts[0], counts[1]);
    assert!((800..1200).contains(&counts[0]), "lost {} of 4000", counts[0]);
}

#[test]
fn total_loss_loses_everything() {
    let (mut core, left, _) = wire(loss(100.0));
    assert_eq!(core.offer(START, left, &frame(BROADCAST, mac(1), None, b"")), None);
    assert_eq!(core.counters().lost, 1);
}

#[test]
fn loss_of_a_port_counts_both_ways() {
    let (mut core, left, right) = wire(Impairment::default());
    assert!(core.set_port_impairment(right, loss(100.0)));
    core.offer(START, left, &frame(BROADCAST, mac(1), None, b""));
    core.offer(START, right, &frame(BROADCAST, mac(2), None, b""));
    assert_eq!(delivered(&mut core, START), 0);
    assert_eq!(core.counters().lost, 2);
}

#[test]
fn a_cut_wire_carries_nothing_and_a_healed_one_does() {
    let (mut core, left, _) = wire(Impairment { delay_ms: 10, ..Impairment::default() });
    let sent = frame(BROADCAST, mac(1), None, b"");
    core.offer(START, left, &sent);
    core.set_cut(true);
    assert_eq!(core.offer(START, left, &sent), None);
    assert_eq!(delivered(&mut core, Duration::from_secs(1)), 0, "on its way when it was cut");
    assert_eq!(core.counters().cut, 2);
    core.set_cut(false);
    assert!(core.offer(START, left, &sent).is_some());
    assert_eq!(delivered(&mut core, Duration::from_secs(1)), 1);
}

#[test]
fn a_cut_port_leaves_the_others_alone() {
    let (mut core, left, right) = wire(Impairment::default());
    let third = core.add_port(PortSettings::default());
    assert!(core.set_port_cut(right, true));
    assert!(!core.set_port_cut(PortId(99), true));
    core.offer(START, left, &frame(BROADCAST, mac(1), None, b""));
    let got: Vec<PortId> =
        std::iter::from_fn(|| core.pop_due(START)).map(|delivery| delivery.to).collect();
    assert_eq!(got, [third]);
}

#[test]
fn the_queue_is_bounded() {
    let (mut core, left, _) = wire(Impairment { delay_ms: 1000, ..Impairment::default() });
    for _ in 0..QUEUE_LIMIT + 5 {
        core.offer(START, left, &frame(BROADCAST, mac(1), None, b""));
    }
    assert_eq!(core.counters().overflow, 5);
    assert_eq!(delivered(&mut core, Duration::from_secs(2)), QUEUE_LIMIT);
}

#[test]
fn values_out_of_range_are_refused() {
    for value in [-1.0, 100.1, f64::NAN, f64::INFINITY] {
        assert!(Percent::new(value).is_err(), "{value}");
    }
    let slow = Impairment { jitter_ms: DELAY_LIMIT_MS + 1, ..Impairment::default() };
    assert_eq!(slow.check(), Err(ImpairmentError::Delay(DELAY_LIMIT_MS + 1)));
}
