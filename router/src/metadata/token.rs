//! Session tokens of the EC2 tree ("IMDSv2"): a request forged through some program on the guest cannot make the PUT that
//! gives one.
//!
//! Guarantees: a token is good for the guest that asked for it, for the time it asked for, and for the life of this
//! process; nothing is remembered per token, so asking for many costs nothing. Times count from the process's start: a wrong
//! clock does not matter.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac::{HMAC_SHA256, Key, sign, verify};
use ring::rand::SystemRandom;
use sluice_api::types::{LinkName, MacAddr};

/// Longest life of a token in seconds: six hours, as EC2 has it.
pub(super) const LONGEST: u32 = 21_600;
/// Bytes of the expiry in front of the seal.
const TIME_BYTES: usize = 8;

/// Gives and recognises tokens.
#[derive(Debug)]
pub(super) struct Tokens(Key);

/// Whom a token is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder<'a> {
    pub(super) link: &'a LinkName,
    pub(super) mac: MacAddr,
}

impl Holder<'_> {
    fn signed(&self, expires: [u8; TIME_BYTES]) -> Vec<u8> {
        [&expires[..], &self.mac.bytes(), self.link.as_str().as_bytes()].concat()
    }
}

impl Tokens {
    /// Tokens with a key of their own; `None` when the system has no randomness to give.
    pub(super) fn new() -> Option<Self> {
        Key::generate(HMAC_SHA256, &SystemRandom::new()).ok().map(Self)
    }

    /// A token for `seconds` from `now`.
    pub(super) fn give(&self, holder: Holder<'_>, now: Duration, seconds: u32) -> String {
        let expires = (now.as_secs() + u64::from(seconds)).to_be_bytes();
        let seal = sign(&self.0, &holder.signed(expires));
        URL_SAFE_NO_PAD.encode([&expires[..], seal.as_ref()].concat())
    }

    /// Whether `token` is one of `holder`'s that is still good.
    pub(super) fn is_good(&self, holder: Holder<'_>, now: Duration, token: &str) -> bool {
        // a token of ours is 54 characters; whatever is longer is not decoded
        let decoded = if token.len() < 100 { URL_SAFE_NO_PAD.decode(token).ok() } else { None };
        let Some(decoded) = decoded else { return false };
        let Some((expires, seal)) = decoded.split_first_chunk::<TIME_BYTES>() else { return false };
        now.as_secs() < u64::from_be_bytes(*expires)
            && verify(&self.0, &holder.signed(*expires), seal).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_holder_and_its_time() {
        let (tokens, others) = (Tokens::new().unwrap(), Tokens::new().unwrap());
        let (link, other): (LinkName, LinkName) =
            ("guest0".parse().unwrap(), "guest1".parse().unwrap());
        let mac: MacAddr = "02:00:0a:01:01:17".parse().unwrap();
        let holder = Holder { link: &link, mac };
        let at = Duration::from_secs;
        let token = tokens.give(holder, at(100), 60);
        assert!(tokens.is_good(holder, at(159), &token));
        assert!(!tokens.is_good(holder, at(160), &token), "its time is over");
        assert!(!tokens.is_good(Holder { link: &other, mac }, at(100), &token));
        let mac = "02:00:0a:01:01:18".parse().unwrap();
        assert!(!tokens.is_good(Holder { link: &link, mac }, at(100), &token));
        assert!(!others.is_good(holder, at(100), &token), "of another process");
        let mut forged = token.clone().into_bytes();
        forged[3] ^= 1;
        let forged = String::from_utf8(forged).unwrap();
        for text in [forged.as_str(), "", "?", &"A".repeat(10_000), &token[..20]] {
            assert!(!tokens.is_good(holder, at(100), text), "{text}");
        }
    }
}
