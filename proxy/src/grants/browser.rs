//! How a browser is known again: a cookie for each grant, proved by a key, so that nothing has to be remembered for it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::{digest, hmac};
use sluice_api::types::{ObjectId, Secret};

/// Shortest key, in bytes.
const KEY: usize = 32;

/// One browser, by a number of ours that nobody can guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrowserId([u8; 16]);

impl BrowserId {
    /// A browser that was not here before.
    pub fn new() -> Self {
        Self(rand::random())
    }

    /// By `seed`, which a page makes once and shows with the link's token at each try, so that a lost answer costs nothing:
    /// base64 (RFC 4648 5, without padding) of 16 random bytes. None when it is anything else.
    pub fn by(seed: &str) -> Option<Self> {
        let seed: [u8; 16] = URL_SAFE_NO_PAD.decode(seed).ok()?.try_into().ok()?;
        let mut hashed = digest::Context::new(&digest::SHA256);
        hashed.update(b"sluice console browser ");
        hashed.update(&seed);
        hashed.finish().as_ref().first_chunk().copied().map(Self)
    }

    /// From its bytes; none when they are not 16.
    pub(super) fn of(bytes: Vec<u8>) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for BrowserId {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes and reads the cookies.
pub struct Browsers {
    key: hmac::Key,
}

impl Browsers {
    /// With the key of the slice, or one made here.
    ///
    /// Errors: the key is not base64 of 32 bytes or more.
    pub fn new(key: Option<&Secret>) -> Result<Self, String> {
        let bytes = match key {
            Some(key) => STANDARD.decode(key.reveal()).unwrap_or_default(),
            None => rand::random::<[u8; KEY]>().to_vec(),
        };
        if bytes.len() < KEY {
            return Err(format!("cookie_key: must be base64 of at least {KEY} bytes"));
        }
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    /// Name of the cookie of `grant`.
    pub fn name(grant: &ObjectId) -> String {
        format!("sluice-console-{grant}")
    }

    /// The cookie's value by which `browser` is known again for `grant`.
    pub fn value(&self, grant: &ObjectId, browser: BrowserId) -> String {
        let tag = hmac::sign(&self.key, &signed(grant, browser));
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!("{}.{}", encode(&browser.0), encode(tag.as_ref()))
    }

    /// The browser that `cookies`, the values of the Cookie headers, prove for `grant`.
    pub fn find<'a>(
        &self,
        grant: &ObjectId,
        cookies: impl Iterator<Item = &'a str>,
    ) -> Option<BrowserId> {
        let name = Self::name(grant);
        cookies
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(found, _)| *found == name)
            .find_map(|(_, value)| self.read(grant, value))
    }

    /// The browser that `value`, a cookie's, proves for `grant`.
    pub fn read(&self, grant: &ObjectId, value: &str) -> Option<BrowserId> {
        let (id, tag) = value.split_once('.')?;
        let id = URL_SAFE_NO_PAD.decode(id).ok()?;
        let browser = BrowserId(id.try_into().ok()?);
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, &signed(grant, browser), &tag).ok().map(|()| browser)
    }
}

fn signed(grant: &ObjectId, browser: BrowserId) -> Vec<u8> {
    [&browser.0[..], grant.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_grant_and_key_alone() {
        let browsers = Browsers::new(None).unwrap();
        let (one, other) = ("g-1".parse().unwrap(), "g-2".parse().unwrap());
        let browser = BrowserId::new();
        let value = browsers.value(&one, browser);
        let header = format!("a=b; sluice-console-g-2={value}; sluice-console-g-1={value}");
        let find = |browsers: &Browsers, grant| browsers.find(grant, [header.as_str()].into_iter());
        assert_eq!(find(&browsers, &one), Some(browser));
        assert_eq!(find(&browsers, &other), None, "made for another grant");
        assert_eq!(find(&Browsers::new(None).unwrap(), &one), None, "made with another key");
    }

    #[test]
    fn a_page_that_shows_the_same_bytes_again_is_the_same_browser() {
        let seed = |byte| URL_SAFE_NO_PAD.encode([byte; 16]);
        assert_eq!(BrowserId::by(&seed(1)), BrowserId::by(&seed(1)));
        assert!(
            BrowserId::by(&seed(1)).is_some() && BrowserId::by(&seed(1)) != BrowserId::by(&seed(2))
        );
        assert_ne!(
            BrowserId::by(&seed(1)),
            BrowserId::of(vec![1; 16]),
            "what is kept does not tell them"
        );
        for damaged in ["", "!", "AAAA", &seed(1)[1..], &URL_SAFE_NO_PAD.encode([1; 17])] {
            assert_eq!(BrowserId::by(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn damaged_cookies_are_nobody() {
        let browsers = Browsers::new(None).unwrap();
        let grant = "g-1".parse().unwrap();
        for value in ["", ".", "AAAA.AAAA", "AAAAAAAAAAAAAAAAAAAAAA.", "x.y.z", "ä.ö"] {
            assert_eq!(browsers.read(&grant, value), None, "{value}");
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        let refused = Browsers::new(Some(&Secret::new("c2hvcnQ="))).err();
        assert!(refused.unwrap().contains("cookie_key"));
        assert!(Browsers::new(Some(&Secret::new("!"))).is_err());
        assert!(Browsers::new(Some(&Secret::new(STANDARD.encode([7; 32])))).is_ok());
    }
}
