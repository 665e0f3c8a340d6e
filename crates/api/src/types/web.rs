//! What a console's links, pages and servers are called by.

use std::fmt;
use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use super::DomainName;
use super::text::text_value;

/// SHA-256 as 64 hexadecimal digits.
fn hexadecimal(text: &str) -> Result<[u8; 32], &'static str> {
    const RULE: &str = "must have 64 hexadecimal digits";
    let mut bytes = [0; 32];
    let pairs = text.as_bytes().as_chunks::<2>();
    if pairs.0.len() != bytes.len() || !pairs.1.is_empty() {
        return Err(RULE);
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs.0) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let [high, low] = *pair;
        *byte = digit(high).ok_or(RULE)? << 4 | digit(low).ok_or(RULE)?;
    }
    Ok(bytes)
}

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

text_value!(
    Fingerprint,
    "fingerprint",
    "^[0-9A-Fa-f]{64}$",
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
);

impl Fingerprint {
    fn check(text: &str) -> Result<[u8; 32], &'static str> {
        hexadecimal(text)
    }

    /// The fingerprint of a certificate.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The name or address in a server's certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerName(String);

text_value!(ServerName, "server name", "^[A-Za-z0-9.:-]{1,253}$", "host-7.cloud.internal");

/// Certificates in PEM, one after the other: at most 16 KiB.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateText(String);

text_value!(
    CertificateText,
    "certificates",
    "^-----BEGIN CERTIFICATE-----[\\s\\S]+-----END CERTIFICATE-----\\s*$",
    "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n"
);

impl CertificateText {
    const MOST: usize = 16 * 1024;

    fn check(text: &str) -> Result<String, &'static str> {
        let framed = text.starts_with("-----BEGIN CERTIFICATE-----")
            && text.trim_end().ends_with("-----END CERTIFICATE-----");
        if !framed || text.len() > Self::MOST {
            return Err("must be certificates in PEM, at most 16384 bytes");
        }
        Ok(text.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CertificateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ServerName {
    fn check(text: &str) -> Result<String, &'static str> {
        let is_name = text.parse::<DomainName>().is_ok() || text.parse::<IpAddr>().is_ok();
        if is_name {
            Ok(text.to_ascii_lowercase())
        } else {
            Err("must be a host name or an address")
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host that the console answers as: a name, an address, or `*.domain` for every name one label below it.
#[derive(Clone, PartialEq, Eq)]
pub struct HostPattern(String);

text_value!(HostPattern, "host", "^[*A-Za-z0-9.:-]{1,255}$", "console.example.org");

impl HostPattern {
    fn check(text: &str) -> Result<String, &'static str> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_address = name.parse::<IpAddr>().is_ok() && name.len() == text.len();
        if is_address || name.parse::<DomainName>().is_ok() {
            return Ok(text.to_ascii_lowercase());
        }
        Err("must be a host name, an address, or *. and a domain; without a port")
    }

    /// Whether `host`, without a port and brackets, is meant.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        match self.0.strip_prefix("*.") {
            Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest == domain),
            None => host == self.0,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An origin, such as `https://portal.example.org` (RFC 6454 6.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Origin(String);

text_value!(Origin, "origin", "^https?://[A-Za-z0-9.:\\[\\]-]+$", "https://portal.example.org");

impl Origin {
    fn check(text: &str) -> Result<String, &'static str> {
        const RULE: &str = "must be http:// or https://, a host and perhaps a port, nothing more";
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        // what may follow goes into a header, where a space or semicolon would end the list
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
        match rest {
            Some(host) if !host.is_empty() && host.bytes().all(fits) => {
                Ok(text.to_ascii_lowercase())
            }
            _ => Err(RULE),
        }
    }

    /// As it stands in a header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path that everything is under; kept without a final slash, so that the default `/` is empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PathPrefix(String);

text_value!(PathPrefix, "path prefix", "^/[A-Za-z0-9._/-]*$", "/console");

impl PathPrefix {
    fn check(text: &str) -> Result<String, &'static str> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._/".contains(&b);
        let path = text.trim_end_matches('/');
        let sound = text.starts_with('/') && path.bytes().all(fits) && !path.contains("//");
        if sound {
            Ok(path.to_owned())
        } else {
            Err("must begin with / and have letters, digits, -, . and _")
        }
    }

    /// What of `path` is below; `None` when it is elsewhere. The prefix itself, without a slash, is "".
    pub fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.0.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_they_are_printed() {
        let hash = Fingerprint::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.parse(), Ok(hash));
        for wrong in ["", "ba78", &text.replace('b', "g"), &format!("{text}00")] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_match_themselves_and_stars_one_label() {
        let matches = |pattern: &str, host| pattern.parse::<HostPattern>().unwrap().matches(host);
        assert!(matches("Console.example.org", "console.EXAMPLE.org"));
        assert!(!matches("console.example.org", "xconsole.example.org"));
        assert!(matches("*.example.org", "192-0-2-1.example.org"));
        assert!(!matches("*.example.org", "example.org"));
        assert!(!matches("*.example.org", "a.b.example.org"));
        assert!(matches("192.0.2.1", "192.0.2.1") && matches("2001:db8::1", "2001:db8::1"));
        for wrong in ["", "*", "*.", "a b", "host:443", "*.192.0.2.1.", "a/b"] {
            assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn origins_have_a_scheme_a_host_and_nothing_that_could_end_a_header() {
        for right in ["https://portal.example.org", "http://localhost:8080", "https://[::1]:1"] {
            assert_eq!(right.parse::<Origin>().unwrap().as_str(), right);
        }
        for wrong in ["portal", "https://", "https://a/", "https://a b", "https://a;x", "ftp://a"] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn prefixes_are_whole_parts_of_a_path() {
        let strip = |prefix: &str, path| prefix.parse::<PathPrefix>().unwrap().strip(path);
        assert_eq!(strip("/", "/x"), Some("/x"));
        assert_eq!(strip("/a/b/", "/a/b/x"), Some("/x"));
        assert_eq!(strip("/a", "/a"), Some(""));
        assert_eq!(strip("/a", "/ab"), None);
        assert!("a".parse::<PathPrefix>().is_err() && "//".parse::<PathPrefix>().is_ok());
        assert!("/a b".parse::<PathPrefix>().is_err());
    }
}
