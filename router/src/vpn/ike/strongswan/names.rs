//! charon's names of algorithms.

use sluice_api::config::vpn::{Encryption, Hash};
use sluice_api::types::DhGroup;

use crate::vpn::ike::Proposal;

fn encryption(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::Aes128 => "aes128",
        Encryption::Aes192 => "aes192",
        Encryption::Aes256 => "aes256",
        Encryption::Aes128Gcm => "aes128gcm16",
        Encryption::Aes256Gcm => "aes256gcm16",
        Encryption::TripleDes => "3des",
    }
}

fn hash(hash: Hash) -> &'static str {
    match hash {
        Hash::Md5 => "md5",
        Hash::Sha1 => "sha1",
        Hash::Sha256 => "sha256",
        Hash::Sha384 => "sha384",
        Hash::Sha512 => "sha512",
    }
}

fn group(group: DhGroup) -> &'static str {
    match group.number() {
        2 => "modp1024",
        5 => "modp1536",
        15 => "modp3072",
        16 => "modp4096",
        17 => "modp6144",
        18 => "modp8192",
        19 => "ecp256",
        20 => "ecp384",
        21 => "ecp521",
        31 => "x25519",
        _ => "modp2048",
    }
}

/// A proposal of the first phase.
pub(super) fn ike(proposal: &Proposal) -> String {
    text(proposal, if proposal.encryption.has_integrity() { "prf" } else { "" })
}

/// A proposal of the second phase.
pub(super) fn esp(proposal: &Proposal) -> String {
    text(proposal, "")
}

fn text(proposal: &Proposal, before_hash: &str) -> String {
    let mut parts = vec![encryption(proposal.encryption).to_owned()];
    parts.extend(proposal.hash.map(|one| format!("{before_hash}{}", hash(one))));
    parts.extend(proposal.group.map(|one| group(one).to_owned()));
    parts.join("-")
}
