//! Configurations as they are kept: compressed, since each one that was ever wanted is kept for ever.
//!
//! Guarantees: what comes out is what went in, byte for byte; what was kept before this was done is read as it is, and
//! short texts stay readable. Not bytes but text, as everything in the store: a back-up is lines of JSON.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::error::Error;

/// What a compressed text begins with; a configuration begins with a brace.
const MARK: &str = "gzip:";
/// Shorter texts in bytes are kept as they are.
const WORTHWHILE: usize = 1024;
/// Most bytes that are made of a text: more than any configuration has.
const MOST: u64 = 256 << 20;

/// `text` as it is kept.
pub(super) fn packed(text: &str) -> String {
    if text.len() < WORTHWHILE {
        return text.to_owned();
    }
    let mut bytes = GzEncoder::new(Vec::new(), Compression::fast());
    // writing to memory does not fail
    match bytes.write_all(text.as_bytes()).and_then(|()| bytes.finish()) {
        Ok(bytes) => format!("{MARK}{}", STANDARD_NO_PAD.encode(bytes)),
        Err(_) => text.to_owned(),
    }
}

/// What `kept` was before.
pub(super) fn unpacked(kept: String) -> Result<String, Error> {
    let Some(text) = kept.strip_prefix(MARK) else { return Ok(kept) };
    let corrupt = |reason: String| Error::Corrupt { what: "configuration", reason };
    let bytes = STANDARD_NO_PAD.decode(text).map_err(|error| corrupt(error.to_string()))?;
    let mut text = String::new();
    let read = GzDecoder::new(bytes.as_slice()).take(MOST).read_to_string(&mut text);
    read.map_err(|error| corrupt(error.to_string()))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_byte_for_byte_and_takes_less_room() {
        let long = r#"{"address":"10.1.1.23","hostname":"vm"},"#.repeat(1000);
        for text in ["", "{}", long.as_str()] {
            assert_eq!(unpacked(packed(text)).unwrap(), text);
        }
        assert!(packed(&long).len() * 10 < long.len());
        // as an earlier build kept it
        assert_eq!(unpacked(long.clone()).unwrap(), long);
        for broken in ["gzip:!", "gzip:AAAA"] {
            assert!(unpacked(broken.to_owned()).is_err(), "{broken}");
        }
    }
}
