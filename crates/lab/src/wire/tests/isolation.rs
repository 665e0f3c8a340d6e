//! Properties: no frame panics, no frame crosses VLANs, tags come and go without a trace.

use bytes::Bytes;
use proptest::prelude::*;
use std::time::Duration;

use super::super::core::{PortSettings, WireCore};
use super::super::frame::Frame;
use super::super::impair::{Impairment, Percent};
use super::super::switch::{PortId, PortMode, Switch};
use super::{frame, vlan};

/// Ports 0 and 1 are trunks, 2 and 3 are in VLAN 10, 4 and 5 in VLAN 20.
fn mode(port: u32) -> PortMode {
    match port {
        0 | 1 => PortMode::Trunk,
        2 | 3 => PortMode::Access(vlan(10)),
        _ => PortMode::Access(vlan(20)),
    }
}

fn switch() -> Switch {
    let mut switch = Switch::default();
    (0..6).for_each(|port| switch.set_port(PortId(port), mode(port)));
    switch
}

fn any_frame() -> impl Strategy<Value = Bytes> {
    let address =
        prop_oneof![(0_u8..6).prop_map(super::mac), Just(super::BROADCAST), any::<[u8; 6]>()];
    let tag = prop_oneof![Just(None), Just(Some(10)), Just(Some(20)), any::<u16>().prop_map(Some)];
    let whole = (address.clone(), address, tag, any::<Vec<u8>>())
        .prop_map(|(to, from, tag, payload)| frame(to, from, tag, &payload));
    prop_oneof![4 => whole, 1 => any::<Vec<u8>>().prop_map(Bytes::from)]
}

fn class(bytes: &Bytes) -> Option<u16> {
    Frame::parse(bytes).and_then(|frame| frame.tag()).map(|tci| tci & 0x0fff)
}

proptest! {
    #[test]
    fn vlans_never_see_each_other(
        frames in proptest::collection::vec((0_u32..6, any_frame()), 1..60)
    ) {
        let mut switch = switch();
        for (from, bytes) in frames {
            let Ok(carried) = switch.forward(PortId(from), &bytes) else { continue };
            let on_wire = class(&carried.on_wire).unwrap_or(0);
            if let PortMode::Access(own) = mode(from) {
                prop_assert_eq!(on_wire, own.get());
            }
            for (to, out) in carried.out {
                prop_assert_ne!(to.0, from);
                match mode(to.0) {
                    PortMode::Access(own) => prop_assert_eq!(on_wire, own.get()),
                    PortMode::Trunk => prop_assert_eq!(&out, &carried.on_wire),
                }
            }
        }
    }

    #[test]
    fn trunk_to_trunk_is_byte_for_byte(bytes in any_frame()) {
        let to_itself = Frame::parse(&bytes).is_some_and(|f| f.source() == f.destination());
        prop_assume!(!to_itself);
        let Ok(carried) = switch().forward(PortId(0), &bytes) else { return Ok(()) };
        let other = carried.out.iter().find(|(to, _)| *to == PortId(1));
        prop_assert_eq!(other.map(|(_, out)| out), Some(&bytes));
    }

    #[test]
    fn access_to_access_is_byte_for_byte(payload: Vec<u8>) {
        let sent = frame(super::mac(2), super::mac(1), None, &payload);
        let carried = switch().forward(PortId(2), &sent).expect("accepted");
        let other = carried.out.iter().find(|(to, _)| *to == PortId(3));
        prop_assert_eq!(other.map(|(_, out)| out), Some(&sent));
    }

    #[test]
    fn every_copy_is_delivered_or_counted(
        frames in proptest::collection::vec((0_u32..6, any_frame()), 1..60),
        loss in 0.0..=100.0_f64,
        delay_ms in 0_u32..50,
        jitter_ms in 0_u32..50,
    ) {
        let loss_percent = Percent::new(loss).expect("in range");
        let mut core = WireCore::new(Impairment { loss_percent, delay_ms, jitter_ms }, 1);
        (0..6).for_each(|port| {
            core.add_port(PortSettings { mode: mode(port), ..PortSettings::default() });
        });
        let mut got = 0;
        for (at, (from, bytes)) in (0..).zip(&frames) {
            let now = Duration::from_millis(at);
            core.offer(now, PortId(*from), bytes);
            while core.pop_due(now).is_some() { got += 1; }
        }
        while core.pop_due(Duration::from_mins(1)).is_some() { got += 1; }
        let counters = core.counters();
        prop_assert_eq!(core.next_due(), None);
        prop_assert_eq!(counters.in_frames, frames.len() as u64);
        prop_assert_eq!(counters.out_frames, got);
        prop_assert_eq!(counters.overflow + counters.cut, 0);
    }
}
