//! Values of DHCP options.

use std::fmt;

use super::text::text_value;

/// Text of a DHCP option: 1 to 255 bytes of printable characters on one line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OptionText(String);

text_value!(OptionText, "option text", "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,255}$", "pxelinux.0");

/// Name of a file to boot from: 1 to 127 bytes of printable characters, as the header's field holds them (RFC 2131 2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootFile(String);

text_value!(BootFile, "boot file", "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,127}$", "pxelinux.0");

/// Bytes of a DHCP option as pairs of hexadecimal digits: 1 to 512 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HexBytes(Vec<u8>);

text_value!(HexBytes, "hexadecimal bytes", "^([0-9a-fA-F]{2}){1,512}$", "0102ff");

fn line(text: &str, most: usize, rule: &'static str) -> Result<String, &'static str> {
    if !(1..=most).contains(&text.len()) {
        return Err(rule);
    }
    if text.chars().any(char::is_control) {
        return Err("must be one line without control characters");
    }
    Ok(text.to_owned())
}

impl OptionText {
    fn check(text: &str) -> Result<String, &'static str> {
        line(text, 255, "must have 1 to 255 bytes")
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl BootFile {
    fn check(text: &str) -> Result<String, &'static str> {
        line(text, 127, "must have 1 to 127 bytes")
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HexBytes {
    fn check(text: &str) -> Result<Vec<u8>, &'static str> {
        const RULE: &str = "must be 1 to 512 pairs of hexadecimal digits";
        let fits = (2..=1024).contains(&text.len()) && text.len().is_multiple_of(2);
        if !fits || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(RULE);
        }
        let pairs = text.as_bytes().chunks_exact(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        pairs.map(byte).collect::<Option<_>>().ok_or(RULE)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for OptionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BootFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_bytes_have_their_limits() {
        assert_eq!("0102FF".parse::<HexBytes>().unwrap().bytes(), [1, 2, 255]);
        for bad in ["", "1", "0x01", "zz", "01 02", &"00".repeat(513)] {
            assert!(bad.parse::<HexBytes>().is_err(), "{bad}");
        }
        assert!(
            "x".repeat(127).parse::<BootFile>().is_ok()
                && "x".repeat(128).parse::<BootFile>().is_err()
        );
        assert!(
            "x".repeat(255).parse::<OptionText>().is_ok()
                && "x".repeat(256).parse::<OptionText>().is_err()
        );
        assert!("a\0b".parse::<OptionText>().is_err());
    }
}
