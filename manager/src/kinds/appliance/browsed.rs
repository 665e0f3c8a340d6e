//! Where browsers find a console proxy.

use sluice_api::types::{HostPattern, Origin};

use super::Appliance;
use crate::error::Error;

impl Appliance {
    /// Where browsers find a proxy; none: it has no name that a link could have.
    pub fn browsed_at(&self) -> Option<Origin> {
        let named = || {
            // a pattern is no name
            let host =
                self.hosts.first().map(ToString::to_string).filter(|it| !it.contains('*'))?;
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            format!("https://{host}").parse().ok()
        };
        self.origin.clone().or_else(named)
    }
}

/// Refuses an origin whose host a proxy would not answer as: its links would lead to a refusal.
pub(super) fn found_by(origin: Option<&Origin>, hosts: &[HostPattern]) -> Result<(), Error> {
    let Some(origin) = origin else { return Ok(()) };
    let place = origin.as_str().split_once("://").map_or("", |(_, place)| place);
    let host = match place.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => place.split(':').next(),
    };
    let host = host.unwrap_or_default();
    if hosts.iter().any(|pattern| pattern.matches(host)) {
        return Ok(());
    }
    Err(Error::Invalid { field: "origin", reason: format!("its host {host} is none of hosts") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_host_that_the_proxy_answers_as() {
        let hosts = ["console.example.org", "*.example.net", "192.0.2.1", "2001:db8::1"];
        let hosts: Vec<HostPattern> = hosts.iter().map(|host| host.parse().unwrap()).collect();
        let found = |origin: &str| found_by(Some(&origin.parse().unwrap()), &hosts).is_ok();
        for origin in [
            "https://console.example.org",
            "http://console.example.org:8080",
            "https://a.example.net",
            "https://192.0.2.1:8443",
            "https://[2001:db8::1]:8443",
        ] {
            assert!(found(origin), "{origin}");
        }
        for origin in ["https://portal.example.org", "https://example.net", "https://[2001:db8::2]"]
        {
            assert!(!found(origin), "{origin}");
        }
        assert!(found_by(None, &[]).is_ok());
        assert!(found_by(Some(&"https://console.example.org".parse().unwrap()), &[]).is_err());
    }
}
