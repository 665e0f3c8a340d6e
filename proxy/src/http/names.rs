//! Under which names the console answers, who may ask, and who is believed about whom.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, header};
use sluice_api::types::Cidr;

use crate::slice::ConsoleSlice;
use crate::values::{HostPattern, Origin, PathPrefix};

/// What of a slice decides on requests.
#[derive(Debug, Default)]
pub(crate) struct Names {
    hosts: Vec<HostPattern>,
    origins: Vec<Origin>,
    trusted: Vec<Cidr>,
    prefix: PathPrefix,
    framed: bool,
    policy: Option<HeaderValue>,
    peers: Vec<Origin>,
    /// Port of HTTPS, for redirects.
    pub(super) https_port: u16,
}

impl Names {
    pub(super) fn of(slice: &ConsoleSlice) -> Result<Self, String> {
        let policy = HeaderValue::try_from(policy(&slice.frame_ancestors, &slice.peers));
        Ok(Self {
            hosts: slice.hosts.clone(),
            origins: slice.origins.clone(),
            trusted: slice.trusted_proxies.clone(),
            prefix: slice.prefix.clone(),
            framed: !slice.frame_ancestors.is_empty(),
            policy: Some(policy.map_err(|error| format!("frame_ancestors: {error}"))?),
            peers: slice.peers.clone(),
            https_port: slice.listen.first().map_or(443, std::net::SocketAddr::port),
        })
    }

    pub(super) fn prefix(&self) -> &PathPrefix {
        &self.prefix
    }

    /// Whether other sites may show the console in a frame.
    pub(super) fn may_be_framed(&self) -> bool {
        self.framed
    }

    /// Where a page goes on when this proxy is gone.
    pub(super) fn peers(&self) -> &[Origin] {
        &self.peers
    }

    /// The Content-Security-Policy.
    pub(super) fn policy(&self) -> Option<&HeaderValue> {
        self.policy.as_ref()
    }

    /// Whether the request's host is one of ours: names of others that point here must get nothing, or a page of theirs
    /// could talk to us as if it were ours (DNS rebinding).
    pub(super) fn answers_as(&self, headers: &HeaderMap) -> bool {
        let host = host(headers).map(|host| without_port(&host).to_owned());
        host.is_some_and(|host| self.hosts.iter().any(|pattern| pattern.matches(&host)))
    }

    /// Whether the page that asks is ours, or one that is allowed. A request without an origin is no browser's.
    pub(super) fn may_ask(&self, headers: &HeaderMap, tls: bool) -> bool {
        let Some(origin) = text(headers, header::ORIGIN.as_str()) else { return false };
        let origin = origin.to_ascii_lowercase();
        if self.origins.iter().any(|allowed| allowed.as_str() == origin) {
            return true;
        }
        // without TLS of ours, a reverse proxy may have ended it
        let secure = origin.strip_prefix("https://");
        let asking = if tls { secure } else { secure.or_else(|| origin.strip_prefix("http://")) };
        asking.is_some_and(|asking| host(headers).is_some_and(|host| host == asking))
    }

    /// Whether the browser's way is TLS all along: ours, or, by what its page says of itself, a reverse proxy's.
    pub(super) fn by_tls(headers: &HeaderMap, tls: bool) -> bool {
        let origin = text(headers, header::ORIGIN.as_str()).map(str::to_ascii_lowercase);
        tls || origin.is_some_and(|origin| origin.starts_with("https://"))
    }

    /// The browser's address: the peer's, or what reverse proxies say that are believed. From the right, where each proxy
    /// adds what it saw; the first address that is no believed proxy's is the browser's.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let said = headers.get_all("x-forwarded-for").into_iter().filter_map(|it| it.to_str().ok());
        let said: Vec<&str> = said.flat_map(|line| line.split(',')).collect();
        for address in said.into_iter().rev() {
            if !self.trusted.iter().any(|network| network.contains(client)) {
                break;
            }
            let Ok(before) = address.trim().parse::<IpAddr>() else { break };
            client = before.to_canonical();
        }
        client
    }
}

/// Everything from here, nothing from elsewhere; other proxies are asked whether they are there. noVNC draws pictures from
/// `data:` addresses.
fn policy(frame_ancestors: &[Origin], peers: &[Origin]) -> String {
    let ancestors: Vec<&str> = frame_ancestors.iter().map(Origin::as_str).collect();
    let ancestors = if ancestors.is_empty() { "'none'".to_owned() } else { ancestors.join(" ") };
    let peers: String = peers.iter().flat_map(|peer| [" ", peer.as_str()]).collect();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
         connect-src 'self'{peers}; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    )
}

/// The Host header in lower case.
pub(super) fn host(headers: &HeaderMap) -> Option<String> {
    text(headers, header::HOST.as_str()).map(str::to_ascii_lowercase)
}

/// Of exactly one header of this name: two would let two readers see two things.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// `host` of `host:port`, and `::1` of `[::1]:port`.
pub(super) fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or("", |(address, _)| address);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let slice = serde_json::json!({
            "listen": ["127.0.0.1:8443"], "hosts": ["console.example.org", "::1"],
            "origins": ["https://portal.example.org"], "trusted_proxies": ["192.0.2.0/24"],
        });
        Names::of(&serde_json::from_value(slice).unwrap()).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_our_own_hosts_are_answered() {
        let answers = |host: &str| names().answers_as(&headers(&[("host", host)]));
        for ours in ["console.example.org", "Console.Example.Org:8443", "[::1]:8443", "[::1]"] {
            assert!(answers(ours), "{ours}");
        }
        for other in ["evil.example.org", "example.org", "127.0.0.1:8443", "[::2]", "", "[", ":"] {
            assert!(!answers(other), "{other}");
        }
        assert!(!names().answers_as(&HeaderMap::new()), "HTTP/1.0 without a host");
        let two = headers(&[("host", "console.example.org"), ("host", "evil.example.org")]);
        assert!(!names().answers_as(&two));
    }

    #[test]
    fn only_our_own_page_and_the_allowed_ones_may_ask() {
        let ask = |origin: &str, tls| {
            let pairs = [("host", "console.example.org:8443"), ("origin", origin)];
            names().may_ask(&headers(&pairs), tls)
        };
        assert!(ask("https://console.example.org:8443", true));
        assert!(ask("https://portal.example.org", true));
        assert!(ask("http://console.example.org:8443", false));
        assert!(ask("https://console.example.org:8443", false), "TLS ended before us");
        for (origin, tls) in [
            ("http://console.example.org:8443", true),
            ("https://console.example.org", true),
            ("https://console.example.org:8443.evil.org", true),
            ("https://evil.org", false),
            ("null", false),
            ("", false),
        ] {
            assert!(!ask(origin, tls), "{origin}");
        }
        assert!(!names().may_ask(&headers(&[("host", "console.example.org")]), true));
        let secure = |origin: &str, tls| Names::by_tls(&headers(&[("origin", origin)]), tls);
        assert!(secure("https://console.example.org", false) && secure("http://x", true));
        assert!(!secure("http://console.example.org", false) && !secure("", false));
    }

    #[test]
    fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
        let client = |peer: &str, said: &[(&'static str, &str)]| {
            names().client(peer.parse().unwrap(), &headers(said)).to_string()
        };
        let said = [("x-forwarded-for", "198.51.100.9, 203.0.113.5")];
        assert_eq!(client("192.0.2.1", &said), "203.0.113.5");
        assert_eq!(client("203.0.113.77", &said), "203.0.113.77", "anybody can write that header");
        assert_eq!(client("192.0.2.1", &[]), "192.0.2.1");
        let chain = [("x-forwarded-for", "6.6.6.6, 203.0.113.5"), ("x-forwarded-for", "192.0.2.8")];
        assert_eq!(client("192.0.2.1", &chain), "203.0.113.5", "through two of ours");
        assert_eq!(client("192.0.2.1", &[("x-forwarded-for", "nonsense")]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &said), "203.0.113.5");
    }

    #[test]
    fn frames_are_for_those_named() {
        assert!(policy(&[], &[]).ends_with("frame-ancestors 'none'"));
        let portal = "https://portal.example.org".parse().unwrap();
        assert!(policy(&[portal], &[]).ends_with("frame-ancestors https://portal.example.org"));
        let other = "https://c2.example.org".parse().unwrap();
        assert!(policy(&[], &[other]).contains("connect-src 'self' https://c2.example.org;"));
    }
}
