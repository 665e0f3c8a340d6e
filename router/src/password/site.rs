//! The password server as a site.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::{Method, StatusCode};
use sluice_api::types::ObjectId;
use tracing::info;

use super::book::{Book, Given};
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
    book: Mutex<Book>,
    unusable: ArcSwap<BTreeMap<ObjectId, String>>,
    start: Instant,
}

impl PasswordSite {
    /// A site that knows nobody; `None` when the system has no randomness to give.
    pub(super) fn new() -> Option<Self> {
        let book = Mutex::new(Book::new()?);
        let (guests, unusable) = (ArcSwap::default(), ArcSwap::default());
        Some(Self { guests, book, unusable, start: Instant::now() })
    }

    /// Answers from `slice` from now on.
    ///
    /// Errors: a password cannot be sealed.
    pub(super) fn replace(&self, slice: &PasswordSlice) -> Result<(), String> {
        let complete = self.book().replace(self.now(), slice.passwords());
        self.guests.store(slice.directory().into());
        self.unusable.store(slice.unusable().into());
        if complete { Ok(()) } else { Err("the system has no randomness to give".to_owned()) }
    }

    /// How many passwords are in which state.
    pub(super) fn states(&self) -> BTreeMap<Given, u64> {
        let mut book = self.book();
        let mut states = BTreeMap::new();
        for (_, given) in book.states(self.now()) {
            *states.entry(given).or_default() += 1;
        }
        states
    }

    /// The guests whose password is over, acknowledged or not, by name.
    pub(super) fn over(&self) -> BTreeMap<String, Given> {
        let mut book = self.book();
        let over = |given: &Given| matches!(given, Given::Acknowledged | Given::Expired);
        let states = book.states(self.now()).filter(|(_, given)| over(given));
        states.map(|(guest, given)| (guest.to_string(), given)).collect()
    }

    /// The guests whose password cannot be handed out, and why.
    pub(super) fn unusable(&self) -> Arc<BTreeMap<ObjectId, String>> {
        self.unusable.load_full()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn send(&self, guest: &ObjectId) -> Answer {
        match self.book().give(self.now(), guest) {
            Some(secret) => {
                info!(%guest, "password handed out");
                Answer::text(secret.reveal().to_owned())
            }
            None => Answer::text(SAVED),
        }
    }

    fn saved(&self, guest: &ObjectId) -> Answer {
        if self.book().acknowledge(self.now(), guest) {
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
