//! The arithmetic of MS-CHAPv2 (RFC 2759 8).
//!
//! MD4, DES and SHA-1 are what the protocol is made of; IPsec around it is what protects it.

use des::Des;
use des::cipher::{Array, BlockCipherEncrypt, KeyInit};
use md4::{Digest, Md4};
use sha1::Sha1;

/// Bytes of a challenge.
pub(super) const CHALLENGE: usize = 16;
/// Bytes of the answer to it.
pub(super) const RESPONSE: usize = 24;

/// What both ends know of one exchange.
pub(super) struct Exchange<'a> {
    /// Our challenge.
    pub(super) ours: &'a [u8; CHALLENGE],
    /// The peer's.
    pub(super) peers: &'a [u8; CHALLENGE],
    /// The name without its domain.
    pub(super) user: &'a str,
    pub(super) password: &'a str,
}

impl Exchange<'_> {
    /// The answer of one who knows the password (8.1).
    pub(super) fn response(&self) -> [u8; RESPONSE] {
        challenge_response(&self.challenge(), &nt_hash(self.password))
    }

    /// What shows the peer that we know the password too (8.7): 20 bytes, sent as hexadecimal digits.
    pub(super) fn proof(&self, response: &[u8; RESPONSE]) -> [u8; 20] {
        let hash: [u8; 16] = Md4::digest(nt_hash(self.password)).into();
        let digest = Sha1::new()
            .chain_update(hash)
            .chain_update(response)
            .chain_update(b"Magic server to client signing constant")
            .finalize();
        let second = Sha1::new().chain_update(digest).chain_update(self.challenge());
        second.chain_update(b"Pad to make it do more than one iteration").finalize().into()
    }

    /// 8.2.
    fn challenge(&self) -> [u8; 8] {
        let sha1 = Sha1::new().chain_update(self.peers).chain_update(self.ours);
        let digest: [u8; 20] = sha1.chain_update(self.user).finalize().into();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

/// 8.3: MD4 over the password in UTF-16, little-endian.
pub(super) fn nt_hash(password: &str) -> [u8; 16] {
    let text: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Md4::digest(text).into()
}

/// 8.5: three DES encryptions with thirds of the hash as keys, the last one filled up with zeros.
pub(super) fn challenge_response(challenge: &[u8; 8], hash: &[u8; 16]) -> [u8; RESPONSE] {
    let mut keys = [0; 21];
    keys.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    let mut response = [0; RESPONSE];
    let (blocks, _) = response.as_chunks_mut::<8>();
    for (block, key) in blocks.iter_mut().zip(keys.as_chunks::<7>().0) {
        let mut bytes = Array::from(*challenge);
        Des::new(&Array::from(spread(*key))).encrypt_block(&mut bytes);
        *block = bytes.into();
    }
    response
}

/// 56 bits of key as DES takes them: seven in each byte, above a parity bit that nobody reads.
fn spread(key: [u8; 7]) -> [u8; 8] {
    let bits = key.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    std::array::from_fn(|place| {
        let seven = bits >> (49 - 7 * place) & 0x7f;
        u8::try_from(seven << 1).unwrap_or(0)
    })
}

/// The name as the hash takes it: without the domain that some clients put before it.
pub(super) fn without_domain(name: &str) -> &str {
    name.rsplit_once('\\').map_or(name, |(_, user)| user)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [u8; 16] = [
        0x5b, 0x5d, 0x7c, 0x7d, 0x7b, 0x3f, 0x2f, 0x3e, 0x3c, 0x2c, 0x60, 0x21, 0x32, 0x26, 0x26,
        0x28,
    ];
    const PEERS: [u8; 16] = [
        0x21, 0x40, 0x23, 0x24, 0x25, 0x5e, 0x26, 0x2a, 0x28, 0x29, 0x5f, 0x2b, 0x3a, 0x33, 0x7c,
        0x7e,
    ];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    #[test]
    fn rfc_2759_9_2() {
        let exchange =
            Exchange { ours: &OURS, peers: &PEERS, user: "User", password: "clientPass" };
        assert_eq!(hex(&exchange.challenge()), "D02E4386BCE91226");
        assert_eq!(hex(&nt_hash("clientPass")), "44EBBA8D5312B8D611474411F56989AE");
        let response = exchange.response();
        assert_eq!(hex(&response), "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF");
        assert_eq!(hex(&exchange.proof(&response)), "407A5589115FD0D6209F510FE9C04566932CDA56");
    }

    #[test]
    fn a_domain_is_not_part_of_the_name() {
        assert_eq!(without_domain("OFFICE\\anna"), "anna");
        assert_eq!(without_domain("anna"), "anna");
    }
}
