//! What a proxy takes from and adds to a message's header: pure.

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, Entry, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Uri, Version};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Takes away what is meant for the next hop alone (RFC 9110 7.6.1). `upgrade` keeps what asks for, or grants, another
/// protocol.
pub(crate) fn take_hop_by_hop(headers: &mut HeaderMap, upgrade: bool) {
    // most messages have none, and a look at each name costs less than a search for each of these
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        take_named(headers);
    }
    let protocol = if upgrade { headers.remove(UPGRADE) } else { None };
    for name in
        [TRANSFER_ENCODING, UPGRADE, TE, EXPECT, KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS]
    {
        headers.remove(name);
    }
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "transfer-encoding"
            | "upgrade"
            | "te"
            | "expect"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
    )
}

/// Takes away what the Connection header names, and it itself.
fn take_named(headers: &mut HeaderMap) {
    let Entry::Occupied(connection) = headers.entry(CONNECTION) else { return };
    let (_, values) = connection.remove_entry_mult();
    let named: Vec<HeaderName> = values
        .flat_map(|value| {
            let words = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            words.filter_map(|word| HeaderName::from_bytes(word).ok()).collect::<Vec<_>>()
        })
        .collect();
    // what frames and routes a message is not the client's to take away
    let kept = [HOST, CONTENT_LENGTH, UPGRADE, FOR, PROTO, PORT];
    for name in named.iter().filter(|name| !kept.contains(name)) {
        headers.remove(name);
    }
}

/// Whether a request asks for another protocol that may be passed on: never HTTP/2, with which everything that follows
/// would be hidden from the rules.
pub(crate) fn asks_for_upgrade(parts: &Parts, without_body: bool) -> bool {
    let has = |name: HeaderName, wanted: &str| {
        parts.headers.get_all(name).iter().any(|value| {
            let mut words = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            words.any(|word| word.eq_ignore_ascii_case(wanted.as_bytes()))
        })
    };
    let protocol = parts.headers.contains_key(UPGRADE) && !has(UPGRADE, "h2c");
    let http11 = parts.version == Version::HTTP_11 && parts.method == Method::GET;
    http11 && without_body && protocol && has(CONNECTION, "upgrade")
}

/// Makes a client's request one for a member: origin form, a Host, nothing for this hop.
pub(crate) fn for_member(parts: &mut Parts, upgrade: bool) {
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
    take_hop_by_hop(&mut parts.headers, upgrade);
    parts.headers.remove(PROXY_AUTHORIZATION);
    // HTTP/2 may split it (RFC 9113 8.2.3), HTTP/1 may not
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    if parts.uri.authority().is_some() {
        parts.uri = origin_form(&parts.uri);
    }
    parts.version = Version::HTTP_11;
}

/// Makes a member's answer one for a client.
pub(crate) fn for_client(headers: &mut HeaderMap, upgrade: bool) {
    take_hop_by_hop(headers, upgrade);
    headers.remove(PROXY_AUTHENTICATE);
}

fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    path.parse().unwrap_or_else(|_| Uri::from_static("/"))
}

fn join_cookies(headers: &mut HeaderMap) {
    use hyper::header::COOKIE;
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Says where the request came from.
pub(crate) fn add_forwarded(
    headers: &mut HeaderMap,
    client: IpAddr,
    encrypted: bool,
    port: &HeaderValue,
) {
    if let Ok(address) = HeaderValue::from_str(&client.to_canonical().to_string()) {
        // in a field of its own, after those that came: what the client claims stays apart from what is known
        headers.append(FOR, address);
    }
    headers.insert(PROTO, HeaderValue::from_static(if encrypted { "https" } else { "http" }));
    headers.insert(PORT, port.clone());
}
