//! Addresses that are fetched from. Their queries and passwords are secrets: a signed link is a key.

use std::fmt;

use reqwest::Url;
use sluice_api::types::SourceUrl;

/// An `http` or `https` address. Printed without query, fragment and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
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

impl TryFrom<&SourceUrl> for Address {
    type Error = String;

    fn try_from(source: &SourceUrl) -> Result<Self, String> {
        // what the parser says may quote the text, a secret
        let url = Url::parse(source.reveal()).map_err(|_| "the address cannot be read")?;
        Self::new(url)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.0.scheme())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::try_from(&text.parse::<SourceUrl>().unwrap()).unwrap()
    }

    #[test]
    fn what_is_secret_in_an_address_is_not_printed() {
        let url = address("https://bob:hush@host.example:8443/a/b.qcow2?Signature=hush#hush");
        assert_eq!(url.to_string(), "https://host.example:8443/a/b.qcow2");
        assert_eq!(format!("{url:?}"), url.to_string());
    }

    #[test]
    fn a_redirect_may_not_change_to_another_scheme() {
        let url = address("https://host/a/b");
        assert_eq!(url.join("../c?x").unwrap().to_string(), "https://host/c");
        assert!(url.join("file:///etc/passwd").is_err());
    }
}
