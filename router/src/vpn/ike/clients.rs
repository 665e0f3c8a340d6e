//! What the clients of others offer in the first phase of L2TP over IPsec, as servers logged it, beside what we take.

#![allow(clippy::unwrap_used)]

use serde_json::json;
use sluice_api::config::vpn::{Encryption, Hash, VpnConfig};
use sluice_api::types::DhGroup;

use Encryption::{Aes128, Aes256, TripleDes};
use Hash::{Md5, Sha1, Sha256, Sha384, Sha512};

use super::{Proposal, connections};

type Offer = (Encryption, Hash, u64);

/// Windows 10, with its settings as they are; the log ends with the third, which was taken.
const WINDOWS: [Offer; 3] = [(Aes256, Sha1, 20), (Aes128, Sha1, 19), (Aes256, Sha1, 14)];
/// iOS and macOS.
const APPLE: [Offer; 14] = [
    (Aes256, Sha256, 14),
    (Aes256, Sha1, 14),
    (Aes256, Md5, 14),
    (Aes256, Sha512, 14),
    (Aes256, Sha256, 5),
    (Aes256, Sha1, 5),
    (Aes256, Md5, 5),
    (Aes256, Sha256, 2),
    (Aes256, Sha1, 2),
    (Aes256, Md5, 2),
    (Aes128, Sha1, 2),
    (Aes128, Md5, 2),
    (TripleDes, Sha1, 2),
    (TripleDes, Md5, 2),
];
/// Android 5.
const ANDROID_5: [Offer; 6] = [
    (Aes256, Sha1, 2),
    (Aes256, Md5, 2),
    (Aes128, Sha1, 2),
    (Aes128, Md5, 2),
    (TripleDes, Sha1, 2),
    (TripleDes, Md5, 2),
];
/// Later releases, up to the last with L2TP; the log ends with the second, which was taken.
const ANDROID: [Offer; 2] = [(Aes256, Sha384, 2), (Aes256, Sha256, 2)];

/// What a server with these proposals takes of an offer: its own first that is in it, as charon has it.
fn taken(offers: &[Offer], obsolete: bool) -> Option<Offer> {
    let digest = format!("sha256:{}", "0".repeat(64));
    let vpn: VpnConfig = serde_json::from_value(json!({
        "allow_obsolete": obsolete,
        "remote_access": [{
            "id": "ra-1", "address": "198.51.100.10", "networks": ["net-1"], "psk": digest,
            "range": "10.1.2.1-10.1.2.8",
        }],
    }))
    .unwrap();
    let ours = connections(&vpn).remove(0).ike.proposals;
    let has = |proposal: &Proposal, offer: &Offer| {
        let group = DhGroup::try_from(offer.2).unwrap();
        let offer = Proposal { encryption: offer.0, hash: Some(offer.1), group: Some(group) };
        *proposal == offer
    };
    ours.iter().find_map(|proposal| offers.iter().find(|offer| has(proposal, offer)).copied())
}

#[test]
fn windows_and_apple_come_in_with_what_is_not_obsolete() {
    assert_eq!(taken(&WINDOWS, false), Some((Aes256, Sha1, 20)));
    assert_eq!(taken(&APPLE, false), Some((Aes256, Sha256, 14)));
    // and allowing more makes none of it worse
    assert_eq!(taken(&WINDOWS, true), Some((Aes256, Sha1, 20)));
    assert_eq!(taken(&APPLE, true), Some((Aes256, Sha256, 14)));
}

#[test]
fn android_has_group_2_alone_and_comes_in_only_where_that_is_allowed() {
    assert_eq!(taken(&ANDROID, false), None);
    assert_eq!(taken(&ANDROID_5, false), None);
    assert_eq!(taken(&ANDROID, true), Some((Aes256, Sha256, 2)));
    assert_eq!(taken(&ANDROID_5, true), Some((Aes256, Sha1, 2)));
}
