//! Learning, flooding and tags, one example each.

use bytes::Bytes;

use super::super::switch::{PortId, PortMode, Refused, Switch};
use super::{BROADCAST, frame, mac, vlan};

const TRUNK: PortId = PortId(0);
const OTHER_TRUNK: PortId = PortId(1);
const TEN: PortId = PortId(2);
const TWENTY: PortId = PortId(3);

fn switch() -> Switch {
    let mut switch = Switch::default();
    switch.set_port(TRUNK, PortMode::Trunk);
    switch.set_port(OTHER_TRUNK, PortMode::Trunk);
    switch.set_port(TEN, PortMode::Access(vlan(10)));
    switch.set_port(TWENTY, PortMode::Access(vlan(20)));
    switch
}

fn out(switch: &mut Switch, from: PortId, bytes: &Bytes) -> Vec<(PortId, Bytes)> {
    switch.forward(from, bytes).expect("accepted").out
}

#[test]
fn access_port_traffic_is_tagged_on_trunks_and_stays_in_its_vlan() {
    let plain = frame(BROADCAST, mac(1), None, b"hello");
    let tagged = frame(BROADCAST, mac(1), Some(10), b"hello");
    let got = out(&mut switch(), TEN, &plain);
    assert_eq!(got, [(TRUNK, tagged.clone()), (OTHER_TRUNK, tagged)]);
}

#[test]
fn tagged_traffic_leaves_an_access_port_untagged() {
    let tagged = frame(BROADCAST, mac(1), Some(20), b"hello");
    let got = out(&mut switch(), TRUNK, &tagged);
    let plain = frame(BROADCAST, mac(1), None, b"hello");
    assert_eq!(got, [(OTHER_TRUNK, tagged), (TWENTY, plain)]);
}

#[test]
fn untagged_trunk_traffic_reaches_no_access_port() {
    let plain = frame(BROADCAST, mac(1), None, b"hello");
    assert_eq!(out(&mut switch(), TRUNK, &plain), [(OTHER_TRUNK, plain)]);
}

#[test]
fn a_station_on_an_access_port_cannot_choose_its_vlan() {
    let mut switch = switch();
    for id in [10, 20] {
        let tagged = frame(BROADCAST, mac(1), Some(id), b"hop");
        assert_eq!(switch.forward(TEN, &tagged).err(), Some(Refused::TaggedOnAccess));
    }
}

#[test]
fn a_priority_tag_is_filled_in_and_keeps_its_priority() {
    let priority = frame(BROADCAST, mac(1), Some(0xe000), b"voice");
    let got = out(&mut switch(), TEN, &priority);
    assert_eq!(got[0], (TRUNK, frame(BROADCAST, mac(1), Some(0xe00a), b"voice")));
}

#[test]
fn a_learned_address_is_not_flooded() {
    let mut switch = switch();
    out(&mut switch, TEN, &frame(BROADCAST, mac(1), None, b""));
    let answer = frame(mac(1), mac(2), Some(10), b"");
    let got = out(&mut switch, TRUNK, &answer);
    assert_eq!(got, [(TEN, frame(mac(1), mac(2), None, b""))]);
}

#[test]
fn addresses_are_learned_per_vlan() {
    let mut switch = switch();
    out(&mut switch, TEN, &frame(BROADCAST, mac(1), None, b""));
    out(&mut switch, TWENTY, &frame(BROADCAST, mac(1), None, b""));
    let mac_1 = sluice_api::types::MacAddr::from_bytes(mac(1)).expect("unicast");
    assert_eq!(switch.lookup(Some(vlan(10)), mac_1), Some(TEN));
    assert_eq!(switch.lookup(Some(vlan(20)), mac_1), Some(TWENTY));
    assert_eq!(switch.lookup(None, mac_1), None);
}

#[test]
fn an_unplugged_port_is_forgotten() {
    let mut switch = switch();
    out(&mut switch, TRUNK, &frame(BROADCAST, mac(1), None, b""));
    switch.remove_port(TRUNK);
    let to_it = frame(mac(1), mac(2), None, b"");
    assert_eq!(out(&mut switch, OTHER_TRUNK, &to_it), []);
    assert_eq!(switch.forward(TRUNK, &to_it).err(), Some(Refused::NoSuchPort));
}

#[test]
fn a_frame_back_to_its_own_port_goes_nowhere() {
    let mut switch = switch();
    out(&mut switch, TRUNK, &frame(BROADCAST, mac(1), None, b""));
    assert_eq!(out(&mut switch, TRUNK, &frame(mac(1), mac(2), None, b"")), []);
}

#[test]
fn a_group_address_as_sender_captures_nothing() {
    let mut switch = switch();
    out(&mut switch, TRUNK, &frame(BROADCAST, BROADCAST, None, b""));
    let got = out(&mut switch, OTHER_TRUNK, &frame(BROADCAST, mac(1), None, b""));
    assert_eq!(got.len(), 1);
}

#[test]
fn short_frames_are_refused() {
    let mut switch = switch();
    let whole = frame(BROADCAST, mac(1), Some(10), b"");
    for length in [0, 1, 13, 14, 17] {
        let short = whole.slice(..length);
        assert_eq!(switch.forward(TRUNK, &short).err(), Some(Refused::Malformed), "{length}");
    }
}
