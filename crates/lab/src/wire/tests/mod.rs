//! Wires without machines: the switch's promises as examples and as properties.

mod impaired;
mod isolation;
mod running;
mod switching;

use bytes::Bytes;
use sluice_api::types::VlanId;

pub(super) const BROADCAST: [u8; 6] = [0xff; 6];

pub(super) fn vlan(id: u16) -> VlanId {
    VlanId::try_from(u64::from(id)).expect("a VLAN id of the test")
}

pub(super) fn mac(last: u8) -> [u8; 6] {
    [0x02, 0, 0, 0, 0, last]
}

/// A frame from `source` to `destination`, in a VLAN or untagged, with `payload`.
pub(super) fn frame(
    destination: [u8; 6],
    source: [u8; 6],
    in_vlan: Option<u16>,
    payload: &[u8],
) -> Bytes {
    let mut bytes = Vec::new();
    bytes.extend(destination);
    bytes.extend(source);
    if let Some(id) = in_vlan {
        bytes.extend(0x8100_u16.to_be_bytes());
        bytes.extend(id.to_be_bytes());
    }
    bytes.extend(0x0800_u16.to_be_bytes());
    bytes.extend(payload);
    bytes.into()
}
