//! Names that must not leave the site, answered here (RFC 6303, RFC 6761, RFC 7686, RFC 7793, RFC 8375).
//!
//! `local` and `test` are forwarded: sites do serve them from their own resolvers.

/// Zones without names: everything in them does not exist, whatever an upstream would say.
pub(super) const EMPTY_ZONES: &[&str] = &[
    // RFC 6303 4.1 and 4.2
    "10.in-addr.arpa",
    "168.192.in-addr.arpa",
    "0.in-addr.arpa",
    "127.in-addr.arpa",
    "254.169.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    // RFC 6303 4.3 to 4.6
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
    // RFC 6761 6.4, RFC 7686 2, RFC 8375 4
    "invalid",
    "onion",
    "home.arpa",
];

/// `localhost` and everything under it is the asker itself (RFC 6761 6.3).
pub(super) const LOCALHOST: &str = "localhost";

/// Every empty zone: the list above, 172.16.0.0/12 (RFC 6303 4.1) and 100.64.0.0/10 (RFC 7793).
pub(super) fn empty_zones() -> impl Iterator<Item = String> {
    let carrier = (64..=127).map(|second| format!("{second}.100.in-addr.arpa"));
    let private = (16..=31).map(|second| format!("{second}.172.in-addr.arpa"));
    EMPTY_ZONES.iter().map(|zone| (*zone).to_owned()).chain(private).chain(carrier)
}
