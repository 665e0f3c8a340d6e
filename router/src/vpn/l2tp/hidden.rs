//! Hidden values and tunnel authentication: MD5 over a shared secret (RFC 2661 4.3, 5.1.1).
//!
//! Neither protects anything by today's measure. IPsec does; this is here because a peer may use it.

use md5::{Digest, Md5};

use crate::vpn::wire::Reader;

/// Bytes of an MD5 digest.
const BLOCK: usize = 16;

/// The value within `hidden`; `None` when its length says more than there is.
pub(super) fn uncover(kind: u16, secret: &[u8], vector: &[u8], hidden: &[u8]) -> Option<Vec<u8>> {
    let mut key = first(kind, secret, vector);
    let mut clear = Vec::with_capacity(hidden.len());
    for block in hidden.chunks(BLOCK) {
        clear.extend(block.iter().zip(key).map(|(byte, key)| byte ^ key));
        key = following(secret, block);
    }
    let mut reader = Reader::new(&clear);
    let length = reader.u16()?;
    reader.take(usize::from(length)).map(<[u8]>::to_vec)
}

/// `value` hidden, with `padding` bytes of zero to conceal its length.
#[cfg(test)]
pub(super) fn cover(
    kind: u16,
    secret: &[u8],
    vector: &[u8],
    value: &[u8],
    padding: usize,
) -> Vec<u8> {
    let mut clear = crate::vpn::wire::length16(value.len()).to_be_bytes().to_vec();
    clear.extend(value);
    clear.resize(clear.len() + padding, 0);
    let mut key = first(kind, secret, vector);
    let mut hidden = Vec::with_capacity(clear.len());
    for block in clear.chunks(BLOCK) {
        let block: Vec<u8> = block.iter().zip(key).map(|(byte, key)| byte ^ key).collect();
        key = following(secret, &block);
        hidden.extend(block);
    }
    hidden
}

fn first(kind: u16, secret: &[u8], vector: &[u8]) -> [u8; BLOCK] {
    let md5 = Md5::new().chain_update(kind.to_be_bytes()).chain_update(secret);
    md5.chain_update(vector).finalize().into()
}

fn following(secret: &[u8], block: &[u8]) -> [u8; BLOCK] {
    Md5::new().chain_update(secret).chain_update(block).finalize().into()
}

/// The answer to `challenge` that goes with a message of type `number`.
pub(super) fn response(number: u16, secret: &[u8], challenge: &[u8]) -> [u8; BLOCK] {
    // the id of CHAP is the low byte of the message's type
    let [_, id] = number.to_be_bytes();
    Md5::new().chain_update([id]).chain_update(secret).chain_update(challenge).finalize().into()
}
