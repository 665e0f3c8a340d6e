//! What outlives the service: whose browser each grant is pinned to, and which grants were taken away.
//!
//! Written down before the browser is answered. A number of ours says which browser it is; what proves it is the cookie's
//! tag, which is nowhere here. Of a grant there is the hash of its token alone.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sluice_agent::service::Journal;

use super::BrowserId;
use crate::values::TokenHash;

/// Most grants that were taken away and are remembered.
const MOST: usize = 10_000;

/// Of one grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fact {
    token: TokenHash,
    /// The grant's end, in seconds since 1970: nobody asks about it later.
    until: u64,
    what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    /// Pinned to this browser.
    First(String),
    /// Taken away before its end.
    Gone,
}

/// What is known of grants, whether or not they are in force.
#[derive(Debug, Default)]
pub(super) struct Memory {
    journal: Journal<Fact>,
    first: HashMap<TokenHash, (BrowserId, u64)>,
    gone: HashMap<TokenHash, u64>,
}

impl Memory {
    /// With what is written in `folder`; without one nothing outlives the service.
    pub(super) fn open(folder: Option<&Path>, now: u64) -> Self {
        let (journal, facts) = Journal::open(folder, "grants");
        let mut this = Self { journal, ..Self::default() };
        for fact in facts.into_iter().filter(|fact| fact.until > now) {
            this.learn(&fact);
        }
        this
    }

    /// The browser that the grant of `token` is pinned to.
    pub(super) fn first(&self, token: &TokenHash) -> Option<BrowserId> {
        self.first.get(token).map(|(browser, _)| *browser)
    }

    /// Pins it, until the grant's end.
    pub(super) fn pin(&mut self, token: TokenHash, browser: BrowserId, until: u64, now: u64) {
        let what = What::First(URL_SAFE_NO_PAD.encode(browser.bytes()));
        self.note(Fact { token, until, what }, now);
    }

    /// Keeps the pin for as long as the grant lasts now.
    pub(super) fn lasts(&mut self, token: TokenHash, until: u64, now: u64) {
        let known = self.first.get(&token).copied();
        if let Some((browser, _)) = known.filter(|(_, before)| *before < until) {
            self.pin(token, browser, until, now);
        }
    }

    /// Whether it was taken away.
    pub(super) fn is_gone(&self, token: &TokenHash) -> bool {
        self.gone.contains_key(token)
    }

    /// Remembers that it was, so that its holder is told what happened.
    pub(super) fn took_away(&mut self, token: TokenHash, until: u64, now: u64) {
        self.note(Fact { token, until, what: What::Gone }, now);
    }

    fn note(&mut self, fact: Fact, now: u64) {
        self.first.retain(|_, (_, until)| *until > now);
        self.gone.retain(|_, until| *until > now);
        if fact.until > now && self.learn(&fact) {
            let all = || facts(&self.first, &self.gone);
            self.journal.append(&[fact], all);
        }
    }

    /// Whether there was room.
    fn learn(&mut self, fact: &Fact) -> bool {
        match &fact.what {
            What::First(browser) => {
                let browser = URL_SAFE_NO_PAD.decode(browser).ok().and_then(BrowserId::of);
                // a pin that is not remembered would be a hole, so there is always room for it
                browser.is_some_and(|it| {
                    self.first.insert(fact.token, (it, fact.until));
                    true
                })
            }
            What::Gone if self.gone.len() < MOST => {
                self.gone.insert(fact.token, fact.until);
                true
            }
            What::Gone => false,
        }
    }
}

fn facts(
    first: &HashMap<TokenHash, (BrowserId, u64)>,
    gone: &HashMap<TokenHash, u64>,
) -> Vec<Fact> {
    let pins = first.iter().map(|(token, (browser, until))| Fact {
        token: *token,
        until: *until,
        what: What::First(URL_SAFE_NO_PAD.encode(browser.bytes())),
    });
    let gone =
        gone.iter().map(|(token, until)| Fact { token: *token, until: *until, what: What::Gone });
    pins.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_and_what_was_taken_away_are_known_to_the_next_process_until_their_end() {
        let folder = tempfile::tempdir().unwrap();
        let open = |now| Memory::open(Some(folder.path()), now);
        let token = |name| TokenHash::of(name);
        let (one, other) = (BrowserId::new(), BrowserId::new());
        let mut memory = open(100);
        memory.pin(token("a"), one, 200, 100);
        memory.pin(token("b"), other, 300, 100);
        memory.took_away(token("c"), 300, 100);
        memory.took_away(token("over"), 100, 100);
        memory.lasts(token("b"), 400, 100);

        let next = open(150);
        assert_eq!(next.first(&token("a")), Some(one));
        assert_eq!(next.first(&token("b")), Some(other));
        assert!(next.is_gone(&token("c")));
        assert!(!next.is_gone(&token("a")) && !next.is_gone(&token("over")));

        let mut late = open(250);
        assert_eq!(late.first(&token("a")), None, "its grant is over");
        late.took_away(token("d"), 400, 250);
        let last = open(310);
        assert_eq!(
            last.first(&token("b")),
            Some(other),
            "what is known goes on into the next file"
        );
        assert!(!last.is_gone(&token("c")) && last.is_gone(&token("d")));
    }
}
