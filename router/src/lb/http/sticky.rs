//! Stickiness of one request: which member it is bound to, and what its answer must say.
//!
//! Guarantees, as HAProxy's: a binding to a member that is down is dropped, and made anew to whoever serves instead; a
//! cookie in insert mode is set only for clients that did not come with a good one; members never see what is ours where
//! the policy says so.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::Method;
use hyper::header::{CACHE_CONTROL, COOKIE, Entry, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use sluice_api::config::balancer::{AppCookie, CookieMode, LbCookie, Stickiness, UrlMode};

use super::cookie;
use crate::lb::live::{LiveMember, Policy};

/// Between the member's name and the application's value, in prefix mode.
const DELIMITER: u8 = b'~';

/// What a request said of its binding.
#[derive(Default)]
pub(crate) struct Bond {
    /// The member that it is bound to, if that one can serve.
    pub(super) member: Option<Arc<LiveMember>>,
    /// The application's cookie as it came.
    app_value: Option<Vec<u8>>,
    /// That cookie is bound to a member, which may be down, or none of the rule's any more.
    known: bool,
    post: bool,
}

/// Reads the binding of a request from `source`, and takes out of it what members are not to see.
pub(crate) fn read(policy: &Policy, parts: &mut Parts, source: IpAddr) -> Bond {
    match &policy.spec.stickiness {
        None => Bond::default(),
        Some(Stickiness::SourceBased(_)) => {
            let serial = policy.memory.of_source(source);
            let member = serial.and_then(|serial| policy.bound(serial, &[]));
            Bond { member, ..Bond::default() }
        }
        Some(Stickiness::LbCookie(config)) => {
            let member = named_by_cookie(policy, config, &parts.headers);
            hide(config, &mut parts.headers);
            Bond { member, post: parts.method == Method::POST, ..Bond::default() }
        }
        Some(Stickiness::AppCookie(config)) => {
            let app_value = value_in(config, parts);
            let serial = app_value.as_deref().and_then(|value| policy.memory.of_cookie(value));
            let member = serial.and_then(|serial| policy.bound(serial, &[]));
            Bond { member, app_value, known: serial.is_some(), post: false }
        }
    }
}

/// Makes the answer of `member` say, and the memory keep, to whom the client is bound from now on.
pub(crate) fn write(
    policy: &Policy,
    bond: &Bond,
    member: &LiveMember,
    source: IpAddr,
    headers: &mut HeaderMap,
) {
    let serial = member.state.serial;
    match &policy.spec.stickiness {
        None => {}
        Some(Stickiness::SourceBased(_)) => policy.memory.bind_source(source, serial),
        Some(Stickiness::LbCookie(config)) => {
            let direct = bond.member.as_ref().is_some_and(|it| it.state.serial == serial);
            set(config, direct, bond.post, member, headers);
        }
        Some(Stickiness::AppCookie(config)) => {
            let set = headers.get_all(SET_COOKIE).iter().find_map(|field| {
                let (name, value, _) = cookie::parts_of_set(field.as_bytes());
                app_value(config, name, value)
            });
            let learned = set
                .or_else(|| bond.app_value.clone().filter(|_| bond.known || config.request_learn));
            if let Some(value) = learned {
                policy.memory.bind_cookie(value, serial);
            }
        }
    }
}

fn named_by_cookie(
    policy: &Policy,
    config: &LbCookie,
    headers: &HeaderMap,
) -> Option<Arc<LiveMember>> {
    let name = config.name.as_str().as_bytes();
    headers.get_all(COOKIE).iter().find_map(|field| {
        let (_, value) = cookie::find(field.as_bytes(), |it| it == name)?;
        let id = match config.mode {
            CookieMode::Prefix => value.split(|byte| *byte == DELIMITER).next()?,
            CookieMode::Insert | CookieMode::Rewrite => value,
        };
        policy.named(id, &[])
    })
}

fn hide(config: &LbCookie, headers: &mut HeaderMap) {
    let name = config.name.as_str().as_bytes();
    match config.mode {
        CookieMode::Insert if config.indirect => {
            edit_all(headers, &COOKIE, |field| cookie::without(field, name));
        }
        CookieMode::Prefix => edit_all(headers, &COOKIE, |field| {
            Some(cookie::changed(field, name, |value| {
                let mut halves = value.splitn(2, |byte| *byte == DELIMITER);
                let first = halves.next().unwrap_or_default();
                halves.next().unwrap_or(first).to_vec()
            }))
        }),
        CookieMode::Insert | CookieMode::Rewrite => {}
    }
}

fn set(config: &LbCookie, direct: bool, post: bool, member: &LiveMember, headers: &mut HeaderMap) {
    let ours = config.name.as_str().as_bytes();
    let id = member.spec.id.as_str().as_bytes();
    edit_all(headers, &SET_COOKIE, |field| {
        let (name, value, attributes) = cookie::parts_of_set(field);
        if name != ours {
            return Some(field.to_vec());
        }
        match config.mode {
            CookieMode::Insert => None,
            CookieMode::Rewrite => Some([name, b"=", id, attributes].concat()),
            CookieMode::Prefix => Some([name, b"=", id, &[DELIMITER], value, attributes].concat()),
        }
    });
    let wanted = config.mode == CookieMode::Insert && !direct && (post || !config.postonly);
    if wanted && let Ok(field) = HeaderValue::from_str(&inserted(config, member)) {
        headers.append(SET_COOKIE, field);
        if config.nocache {
            headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
    }
}

fn inserted(config: &LbCookie, member: &LiveMember) -> String {
    let domains = config.domains.iter().map(|domain| format!("; domain={domain}"));
    let domains: String = domains.collect();
    format!("{}={}; path=/{domains}", config.name, member.spec.id)
}

/// Puts `edit` of each field called `name` in its place; a field that comes to nothing goes.
fn edit_all(
    headers: &mut HeaderMap,
    name: &hyper::header::HeaderName,
    edit: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    let Entry::Occupied(fields) = headers.entry(name) else { return };
    let (name, fields) = fields.remove_entry_mult();
    let edited: Vec<HeaderValue> = fields
        .filter_map(|field| edit(field.as_bytes()))
        .filter_map(|field| HeaderValue::from_bytes(&field).ok())
        .collect();
    for field in edited {
        headers.append(name.clone(), field);
    }
}

/// The part of the application's cookie that counts, in a request's cookies or its address.
fn value_in(config: &AppCookie, parts: &Parts) -> Option<Vec<u8>> {
    let in_cookies = parts.headers.get_all(COOKIE).iter().find_map(|field| {
        let is_it = |name: &[u8]| matches(config, name);
        cookie::find(field.as_bytes(), is_it)
            .and_then(|(name, value)| app_value(config, name, value))
    });
    in_cookies.or_else(|| in_address(config, parts))
}

fn in_address(config: &AppCookie, parts: &Parts) -> Option<Vec<u8>> {
    let (text, separator) = match config.mode {
        UrlMode::PathParameters => (parts.uri.path(), ';'),
        UrlMode::QueryString => (parts.uri.query().unwrap_or_default(), '&'),
    };
    let skipped = usize::from(config.mode == UrlMode::PathParameters);
    text.split(separator).skip(skipped).find_map(|parameter| {
        // a path parameter ends with its segment
        let parameter = parameter.split('/').next().unwrap_or_default();
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        app_value(config, name.as_bytes(), value.as_bytes())
    })
}

fn matches(config: &AppCookie, name: &[u8]) -> bool {
    let ours = config.name.as_str().as_bytes();
    if config.prefix { name.starts_with(ours) } else { name == ours }
}

/// With a prefix, what follows it in the name, `=` and the value count together.
fn app_value(config: &AppCookie, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    if !matches(config, name) {
        return None;
    }
    let rest = name.get(config.name.as_str().len()..).unwrap_or_default();
    let mut whole = if config.prefix { [rest, b"=", value].concat() } else { value.to_vec() };
    whole.truncate(usize::try_from(config.length.get()).unwrap_or(usize::MAX));
    (!whole.is_empty()).then_some(whole)
}
