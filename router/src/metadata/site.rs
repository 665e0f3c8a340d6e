//! The metadata service as a site: who asks, may it, and what is there.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use sluice_api::types::{LinkName, MacAddr};

use super::guest::Guest;
use super::path::Path;
use super::slice::MetadataSlice;
use super::token::{Holder, LONGEST, Tokens};
use super::tree::{Found, find};
use crate::web::{Answer, Ask, Caller, Directory, Site, Stranger};

/// How long a token is to be good, in seconds; in the request and in the answer.
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// A token.
const TOKEN: &str = "x-aws-ec2-metadata-token";
/// Set by proxies: a token is not given through one.
const FORWARDED: &str = "x-forwarded-for";

/// The service without its sockets.
#[derive(Debug)]
pub struct MetadataSite {
    guests: ArcSwap<Directory<Guest>>,
    tokens: Tokens,
    start: Instant,
}

impl MetadataSite {
    /// A site that knows nobody; `None` when the system has no randomness to give.
    pub fn new() -> Option<Self> {
        let tokens = Tokens::new()?;
        Some(Self { guests: ArcSwap::default(), tokens, start: Instant::now() })
    }

    /// Answers from `slice` from now on.
    pub fn replace(&self, slice: &MetadataSlice) {
        self.guests.store(slice.directory().into());
    }

    /// Status and body of the answer to a request as a guest makes it, with this session token; `None` for who is no guest.
    pub fn ask(
        &self,
        (link, address, mac): (&LinkName, Ipv4Addr, Option<MacAddr>),
        method: &Method,
        path: &str,
        token: Option<&HeaderValue>,
    ) -> Option<(u16, Bytes)> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(TOKEN, token.clone());
        }
        let ask = Ask { method, path, headers: &headers };
        let answer = self.answer(&Caller { link, address, mac }, &ask).ok()?;
        Some((answer.status.as_u16(), answer.body))
    }
}

impl Site for MetadataSite {
    const NAME: &'static str = "metadata";

    fn admits(&self, caller: &Caller<'_>) -> Result<(), Stranger> {
        self.guests.load().find(caller).map(drop)
    }

    fn answer(&self, caller: &Caller<'_>, ask: &Ask<'_>) -> Result<Answer, Stranger> {
        let guests = self.guests.load();
        let guest = guests.find(caller)?;
        let holder = Holder { link: caller.link, mac: guest.mac };
        Ok(answer(guest, &self.tokens, holder, self.start.elapsed(), ask))
    }
}

fn answer(
    guest: &Guest,
    tokens: &Tokens,
    holder: Holder<'_>,
    now: Duration,
    ask: &Ask<'_>,
) -> Answer {
    let Some(path) = Path::read(ask.path) else { return Answer::not_found() };
    let is_token = path.parts() == ["latest", "api", "token"];
    match *ask.method {
        Method::PUT if is_token => give(tokens, holder, now, ask),
        Method::GET | Method::HEAD if is_token => {
            Answer::refusal(StatusCode::METHOD_NOT_ALLOWED, "a token is asked for with PUT\n")
        }
        Method::GET | Method::HEAD => match ask.headers.get(TOKEN) {
            None if guest.needs_token => {
                Answer::refusal(StatusCode::UNAUTHORIZED, "a session token is needed\n")
            }
            Some(_) if !ask.header(TOKEN).is_some_and(|it| tokens.is_good(holder, now, it)) => {
                Answer::refusal(StatusCode::UNAUTHORIZED, "the session token is not good\n")
            }
            _ => found(guest, &path),
        },
        _ => Answer::refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"),
    }
}

fn found(guest: &Guest, path: &Path) -> Answer {
    match find(guest, path) {
        Some(Found::Text(text)) => Answer::text(text),
        Some(Found::UserData(bytes)) => Answer::bytes(bytes),
        None => Answer::not_found(),
    }
}

fn give(tokens: &Tokens, holder: Holder<'_>, now: Duration, ask: &Ask<'_>) -> Answer {
    if ask.headers.contains_key(FORWARDED) {
        return Answer::refusal(StatusCode::FORBIDDEN, "not through a proxy\n");
    }
    let seconds = ask.header(TTL).and_then(|text| text.parse::<u32>().ok());
    match seconds.filter(|seconds| (1..=LONGEST).contains(seconds)) {
        Some(seconds) => {
            let token = tokens.give(holder, now, seconds);
            Answer { header: Some((TTL, seconds.to_string())), ..Answer::text(token) }
        }
        None => Answer::refusal(
            StatusCode::BAD_REQUEST,
            "x-aws-ec2-metadata-token-ttl-seconds must be 1 to 21600\n",
        ),
    }
}
