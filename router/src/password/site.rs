//! The password server as a site.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::{Method, StatusCode};
use sluice_agent::service::Journal;
use sluice_api::types::ObjectId;
use tracing::info;

use super::book::{Book, Given, Over};
use super::slice::PasswordSlice;
use crate::web::{Answer, Ask, Caller, Directory, Site, Stranger};

/// What a guest wants, in the spelling of the protocol and in lower case, as headers are compared.
const REQUEST: &str = "domu_request";
/// What is said to a guest for whom there is no password, and to one that acknowledged.
const SAVED: &str = "saved_password";
/// What is said to whatever is not the protocol.
const BAD: &str = "bad_request";

/// The service.
#[derive(Debug)]
pub(super) struct PasswordSite {
    guests: ArcSwap<Directory<ObjectId>>,
    book: Mutex<(Book, Journal<Over>)>,
    unusable: ArcSwap<BTreeMap<ObjectId, String>>,
    start: Instant,
}

impl PasswordSite {
    /// A site that knows nobody, and writes down in `folder`, if there is one, which passwords are over; `None` when the system
    /// has no randomness to give.
    pub(super) fn new(folder: Option<&Path>) -> Option<Self> {
        let (journal, over) = Journal::open(folder, "passwords");
        let book = Mutex::new((Book::new(over)?, journal));
        let (guests, unusable) = (ArcSwap::default(), ArcSwap::default());
        Some(Self { guests, book, unusable, start: Instant::now() })
    }

    /// Answers from `slice` from now on.
    ///
    /// Errors: a password cannot be sealed.
    pub(super) fn replace(&self, slice: &PasswordSlice) -> Result<(), String> {
        let complete = self.with_book(|book, now| book.replace(now, slice.passwords()));
        self.guests.store(slice.directory().into());
        self.unusable.store(slice.unusable().into());
        if complete { Ok(()) } else { Err("the system has no randomness to give".to_owned()) }
    }

    /// How many passwords are in which state.
    pub(super) fn states(&self) -> BTreeMap<Given, u64> {
        self.with_book(|book, now| {
            let mut states = BTreeMap::new();
            for (_, given) in book.states(now) {
                *states.entry(given).or_default() += 1;
            }
            states
        })
    }

    /// The guests whose password is over, acknowledged or not, by name.
    pub(super) fn over(&self) -> BTreeMap<String, Given> {
        let over = |given: &Given| matches!(given, Given::Acknowledged | Given::Expired);
        self.with_book(|book, now| {
            let states = book.states(now).filter(|(_, given)| over(given));
            states.map(|(guest, given)| (guest.to_string(), given)).collect()
        })
    }

    /// The guests whose password cannot be handed out, and why.
    pub(super) fn unusable(&self) -> Arc<BTreeMap<ObjectId, String>> {
        self.unusable.load_full()
    }

    /// What `ask` makes of the book, once it is written down.
    fn with_book<T>(&self, ask: impl FnOnce(&mut Book, Duration) -> T) -> T {
        let mut locked = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let (book, journal) = &mut *locked;
        let answer = ask(book, self.start.elapsed());
        let changes = book.changes();
        if !changes.is_empty() {
            journal.append(&changes, || book.all_over());
        }
        answer
    }

    fn send(&self, guest: &ObjectId) -> Answer {
        match self.with_book(|book, now| book.give(now, guest)) {
            Some(secret) => {
                info!(%guest, "password handed out");
                Answer::text(secret.reveal().to_owned())
            }
            None => Answer::text(SAVED),
        }
    }

    fn saved(&self, guest: &ObjectId) -> Answer {
        if self.with_book(|book, now| book.acknowledge(now, guest)) {
            info!(%guest, "password acknowledged");
        }
        Answer::text(SAVED)
    }
}

impl Site for PasswordSite {
    const NAME: &'static str = "password";

    fn admits(&self, caller: &Caller<'_>) -> Result<(), Stranger> {
        self.guests.load().find(caller).map(drop)
    }

    fn answer(&self, caller: &Caller<'_>, ask: &Ask<'_>) -> Result<Answer, Stranger> {
        let guests = self.guests.load();
        let guest = guests.find(caller)?;
        // HEAD would take the password without showing it
        let is_get = *ask.method == Method::GET && ask.path == "/";
        Ok(match ask.header(REQUEST).filter(|_| is_get) {
            Some("send_my_password") => self.send(guest),
            Some("saved_password") => self.saved(guest),
            _ => Answer::refusal(StatusCode::BAD_REQUEST, BAD),
        })
    }
}
