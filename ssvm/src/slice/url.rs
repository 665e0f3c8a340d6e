//! Addresses of sources. Their queries and passwords are secrets: a signed link is a key.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// An `http` or `https` address. Printed without query, fragment and password.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceUrl(Url);

impl SourceUrl {
    /// The whole address; whoever calls this answers for where it goes.
    pub const fn reveal(&self) -> &Url {
        &self.0
    }

    /// The address that `location`, as a server names it, means from here.
    ///
    /// Errors: it is no address, or one of another scheme.
    pub fn join(&self, location: &str) -> Result<Self, String> {
        let joined = self.0.join(location).map_err(|_| "a redirect to what is no address")?;
        Self::new(joined)
    }

    fn new(url: Url) -> Result<Self, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("scheme {:?}; http and https are known", url.scheme()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("the address has no host".to_owned());
        }
        Ok(Self(url))
    }
}

impl FromStr for SourceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // what the parser says may quote the text, a secret
        let url = Url::parse(text).map_err(|_| "not an address such as https://host/path")?;
        Self::new(url)
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.0.scheme())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for SourceUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for SourceUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_an_address_is_not_printed() {
        let text = "https://bob:hush@host.example:8443/a/b.qcow2?Signature=hush#hush";
        let url: SourceUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), "https://host.example:8443/a/b.qcow2");
        assert_eq!(format!("{url:?}"), url.to_string());
        assert_eq!(serde_json::to_string(&url).unwrap(), format!("{text:?}"));
    }

    #[test]
    fn a_refusal_does_not_quote_what_it_refuses() {
        for text in ["file:///etc/shadow?hush", "hush", "http://?hush", "ftp://h/hush"] {
            let reason = text.parse::<SourceUrl>().unwrap_err();
            assert!(!reason.contains("hush"), "{reason}");
        }
    }

    #[test]
    fn a_redirect_may_not_change_to_another_scheme() {
        let url: SourceUrl = "https://host/a/b".parse().unwrap();
        assert_eq!(url.join("../c?x").unwrap().to_string(), "https://host/c");
        assert!(url.join("file:///etc/passwd").is_err());
    }
}
