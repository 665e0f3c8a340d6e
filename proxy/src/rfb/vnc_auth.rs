//! VNC authentication (RFC 6143 7.2.2): DES with the password as its key. Weak by today's measure: on its own it is for
//! networks that nobody else is on; inside TLS it is one more check.

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};

/// Length of challenge and response.
pub(super) const LENGTH: usize = 16;

/// The response to `challenge`. Only the first 8 bytes of the password count, each with its bits mirrored.
pub(super) fn response(password: &[u8], challenge: [u8; LENGTH]) -> [u8; LENGTH] {
    let mut key = [0; 8];
    for (slot, byte) in key.iter_mut().zip(password) {
        *slot = byte.reverse_bits();
    }
    let des = Des::new(&key.into());
    let mut response = challenge;
    for half in response.as_chunks_mut::<8>().0 {
        let mut block = (*half).into();
        des.encrypt_block(&mut block);
        *half = block.into();
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 81's first vector, its key mirrored: 0123456789abcdef encrypts "Now is t" to 3fa40e8a984d4815.
    #[test]
    fn the_key_is_mirrored_and_both_halves_are_encrypted() {
        let password = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef].map(u8::reverse_bits);
        let answer = response(&password, *b"Now is tNow is t");
        let half = [0x3f, 0xa4, 0x0e, 0x8a, 0x98, 0x4d, 0x48, 0x15];
        assert_eq!(answer, [half, half].concat()[..]);
    }

    #[test]
    fn eight_bytes_count_and_fewer_are_filled_up() {
        let challenge = [7; LENGTH];
        assert_eq!(response(b"12345678", challenge), response(b"123456789", challenge));
        assert_eq!(response(b"123", challenge), response(b"123\0\0", challenge));
        assert_ne!(response(b"123", challenge), response(b"124", challenge));
    }
}
