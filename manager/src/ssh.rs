//! Ed25519 keys in OpenSSH's formats (its PROTOCOL.key, RFC 8709): what `ssh-keygen` writes, so that `ssh -i` reads it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

const KIND: &[u8] = b"ssh-ed25519";
/// Characters of a line of a private key's file.
const LINE: usize = 70;
/// Private parts are filled up to a multiple of this, the block of "no cipher".
const BLOCK: usize = 8;

/// A fresh pair of keys.
pub(crate) struct Pair {
    public: String,
    private: String,
}

impl Pair {
    /// A pair of 256 random bits; `comment` tells people what it is.
    pub(crate) fn generate(comment: &str) -> Self {
        Self::of(rand::random(), rand::random(), comment)
    }

    fn of(seed: [u8; 32], check: [u8; 4], comment: &str) -> Self {
        // a seed of 32 bytes always makes a key; with none there is no public part, which nothing accepts
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok();
        let point = pair.map(|pair| pair.public_key().as_ref().to_vec()).unwrap_or_default();
        let blob = [string(KIND), string(&point)].concat();
        let secret = [seed.as_slice(), &point].concat();
        let mut inner = [check, check].concat();
        inner.extend([string(KIND), string(&point), string(&secret)].concat());
        inner.extend(string(comment.as_bytes()));
        inner.extend((1..).take((BLOCK - inner.len() % BLOCK) % BLOCK));
        let outer = [
            b"openssh-key-v1\0".to_vec(),
            // no cipher, no key derivation, one key
            string(b"none"),
            string(b"none"),
            string(b""),
            vec![0, 0, 0, 1],
            string(&blob),
            string(&inner),
        ];
        let public = format!("ssh-ed25519 {} {comment}", STANDARD.encode(blob));
        Self { public, private: armour(&STANDARD.encode(outer.concat())) }
    }

    /// The line of `authorized_keys`.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }

    /// The file for `ssh -i`.
    pub(crate) fn private(&self) -> &str {
        &self.private
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [length.to_be_bytes().as_slice(), bytes].concat()
}

fn armour(text: &str) -> String {
    let mut file = String::from("-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for (at, letter) in text.chars().enumerate() {
        if at > 0 && at.is_multiple_of(LINE) {
            file.push('\n');
        }
        file.push(letter);
    }
    file + "\n-----END OPENSSH PRIVATE KEY-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_s_parts_fill_whole_blocks_and_lines() {
        for length in 0..20 {
            let pair = Pair::of([7; 32], [1; 4], &"c".repeat(length));
            let text: String =
                pair.private().lines().filter(|line| !line.starts_with("---")).collect();
            let bytes = STANDARD.decode(text).unwrap();
            assert!(bytes.starts_with(b"openssh-key-v1\0"));
            // the private part is the last string
            let public = 15 + 4 + 4 + 4 + 4 + 4 + 4 + 4 + 51;
            let inner = u32::from_be_bytes(bytes[public..public + 4].try_into().unwrap());
            assert_eq!((inner % 8, bytes.len()), (0, public + 4 + inner as usize));
            assert!(pair.private().lines().all(|line| line.len() <= LINE));
        }
        let one = Pair::generate("x");
        assert_ne!(one.private(), Pair::generate("x").private());
        assert!(one.public().parse::<sluice_api::types::PublicKey>().is_ok());
    }
}
