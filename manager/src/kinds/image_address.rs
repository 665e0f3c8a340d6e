//! Addresses of images with a secret in them, as they are kept: with random text as their fragment, so that the digest does not
//! tell when a guess is right. A fragment is sent to no server (RFC 9110 section 4.1), so appliances of every build fetch the
//! same.

use sluice_api::types::{BlobDigest, SourceUrl};

use super::{Context, rule};
use crate::error::Error;
use crate::store::blobs;

/// What stands before the random text.
const MARK: &str = "#sluice-";
/// Digits of the random text: 128 bits.
const DIGITS: usize = 32;

/// Keeps the address as a secret; returns the digest that a configuration names.
///
/// Errors: it is too long with the random text.
pub(super) async fn keep(
    context: &mut Context<'_>,
    address: &SourceUrl,
) -> Result<BlobDigest, Error> {
    let kept = with_random(address.reveal());
    let too_long = |_| rule::invalid("secret_url", "must have at most 8152 characters");
    let kept: SourceUrl = kept.parse().map_err(too_long)?;
    context.keep(kept.reveal().as_bytes()).await
}

fn with_random(address: &str) -> String {
    format!("{address}{MARK}{:0width$x}", rand::random::<u128>(), width = DIGITS)
}

/// An address that a build before kept without random text, anew; none: it has some.
pub(super) async fn again(
    context: &mut Context<'_>,
    digest: &BlobDigest,
) -> Result<Option<BlobDigest>, Error> {
    let kept =
        blobs::get(context.conn, digest).await?.and_then(|kept| String::from_utf8(kept).ok());
    let address: Option<SourceUrl> = kept.and_then(|kept| kept.trim().parse().ok());
    match address.filter(|address| without_random(address.reveal()).is_none()) {
        Some(address) => keep(context, &address).await.map(Some),
        None => Ok(None),
    }
}

/// Whether that is what is kept of the address.
pub(super) fn holds(kept: &[u8], address: &str) -> bool {
    let kept = std::str::from_utf8(kept).ok();
    kept.and_then(without_random).is_some_and(|kept| kept == address)
}

/// The address that is kept; none: no random text stands behind it.
fn without_random(kept: &str) -> Option<&str> {
    let (address, random) = kept.rsplit_once(MARK)?;
    let whole = random.len() == DIGITS && random.bytes().all(|digit| digit.is_ascii_hexdigit());
    whole.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_never_kept_twice_alike_and_known_again() {
        for address in ["https://bob:hush@h.example/a", "https://h.example/a?k=hush#frag"] {
            let (one, other) = (with_random(address), with_random(address));
            assert_ne!(one, other);
            assert!(one.parse::<SourceUrl>().unwrap().to_string().ends_with("h.example/a"));
            assert!(holds(one.as_bytes(), address));
            for wrong in ["https://bob:hush@h.example/", "https://bob:guess@h.example/a", ""] {
                assert!(!holds(one.as_bytes(), wrong), "{wrong}");
            }
            assert!(!holds(address.as_bytes(), address), "of a build before");
        }
    }
}
