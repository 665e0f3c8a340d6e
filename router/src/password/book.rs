//! Which password waits for whom: sans-I/O, time comes in.
//!
//! Guarantees: each password is handed out until its guest says that it has it, but no longer than [`RETRY`] after the first
//! time (a client whose connection broke asks again), and never after its time is over. The same password pushed again is
//! the same password: what was taken stays taken. A new one for the guest replaces the old and starts anew.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use sluice_api::types::{BlobDigest, ObjectId, Secret};

use super::sealed::{Safe, Sealed};

/// How long after a password was first handed out it may be asked for again: 10 min, which covers the retries of every
/// client that does not acknowledge.
pub const RETRY: Duration = Duration::from_mins(10);

/// What became of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Given {
    /// Nobody asked yet.
    Waiting,
    /// Handed out, not acknowledged.
    Sent,
    /// The guest said that it has it.
    Acknowledged,
    /// Its time was over before the guest said that it has it.
    Expired,
}

/// A password as it comes in.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    pub(super) guest: &'a ObjectId,
    /// Tells one password from another without showing it.
    pub(super) digest: &'a BlobDigest,
    pub(super) secret: &'a Secret,
    pub(super) valid: Duration,
}

#[derive(Debug)]
struct Entry {
    digest: BlobDigest,
    /// None once it was acknowledged or its time was over.
    secret: Option<Sealed>,
    expires: Duration,
    given: Given,
}

impl Entry {
    /// Wipes what is over.
    fn expire(&mut self, now: Duration) {
        if self.secret.is_some() && now >= self.expires {
            self.secret = None;
            self.given = Given::Expired;
        }
    }
}

/// All passwords.
#[derive(Debug)]
pub(super) struct Book {
    safe: Safe,
    entries: HashMap<ObjectId, Entry>,
}

impl Book {
    /// An empty book; `None` when the system has no randomness to give.
    pub(super) fn new() -> Option<Self> {
        Some(Self { safe: Safe::new()?, entries: HashMap::new() })
    }

    /// Holds exactly `passwords` from now on. False when the system has no randomness to seal a new one with; the others
    /// are in the book.
    pub(super) fn replace<'a>(
        &mut self,
        now: Duration,
        passwords: impl IntoIterator<Item = Incoming<'a>>,
    ) -> bool {
        let mut complete = true;
        let mut old = std::mem::take(&mut self.entries);
        for incoming in passwords {
            let kept = old.remove(incoming.guest).filter(|entry| entry.digest == *incoming.digest);
            let entry = kept.or_else(|| self.enter(now, &incoming));
            complete &= entry.is_some();
            if let Some(entry) = entry {
                self.entries.insert(incoming.guest.clone(), entry);
            }
        }
        complete
    }

    fn enter(&self, now: Duration, incoming: &Incoming<'_>) -> Option<Entry> {
        Some(Entry {
            digest: *incoming.digest,
            secret: Some(self.safe.seal(incoming.secret)?),
            expires: now.saturating_add(incoming.valid),
            given: Given::Waiting,
        })
    }

    /// The password of `guest`, if one is to be handed out.
    pub(super) fn give(&mut self, now: Duration, guest: &ObjectId) -> Option<Secret> {
        let entry = self.entries.get_mut(guest)?;
        entry.expire(now);
        let secret = self.safe.open(entry.secret.as_ref()?)?;
        if entry.given == Given::Waiting {
            entry.given = Given::Sent;
            entry.expires = entry.expires.min(now.saturating_add(RETRY));
        }
        Some(secret)
    }

    /// `guest` has its password; true when one was handed out to it.
    pub(super) fn acknowledge(&mut self, now: Duration, guest: &ObjectId) -> bool {
        let Some(entry) = self.entries.get_mut(guest) else { return false };
        entry.expire(now);
        if entry.given != Given::Sent {
            return false;
        }
        entry.secret = None;
        entry.given = Given::Acknowledged;
        true
    }

    /// What became of each password.
    pub(super) fn states(&mut self, now: Duration) -> impl Iterator<Item = (&ObjectId, Given)> {
        self.entries.values_mut().for_each(|entry| entry.expire(now));
        self.entries.iter().map(|(guest, entry)| (guest, entry.given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn vm1() -> ObjectId {
        "vm1-0".parse().unwrap()
    }

    fn push(book: &mut Book, now: u64, text: &str) {
        let secret = Secret::new(text);
        let digest = BlobDigest::of(text.as_bytes());
        let incoming =
            Incoming { guest: &vm1(), digest: &digest, secret: &secret, valid: at(3600) };
        assert!(book.replace(at(now), [incoming]));
    }

    fn give(book: &mut Book, now: u64) -> Option<String> {
        book.give(at(now), &vm1()).map(|secret| secret.reveal().to_owned())
    }

    fn state(book: &mut Book, now: u64) -> Option<Given> {
        book.states(at(now)).next().map(|(_, given)| given)
    }

    #[test]
    fn a_password_is_handed_out_until_it_is_acknowledged() {
        let mut book = Book::new().unwrap();
        push(&mut book, 0, "one");
        assert_eq!(state(&mut book, 0), Some(Given::Waiting));
        assert_eq!(give(&mut book, 10).as_deref(), Some("one"));
        assert_eq!(give(&mut book, 11).as_deref(), Some("one"), "the connection may have broken");
        assert_eq!(state(&mut book, 11), Some(Given::Sent));
        assert!(book.acknowledge(at(12), &vm1()));
        assert_eq!(give(&mut book, 13), None);
        assert!(!book.acknowledge(at(13), &vm1()));
        // a configuration that says the same says nothing new
        push(&mut book, 14, "one");
        assert_eq!((give(&mut book, 15), state(&mut book, 15)), (None, Some(Given::Acknowledged)));
        push(&mut book, 16, "two");
        assert_eq!(give(&mut book, 17).as_deref(), Some("two"));
    }

    #[test]
    fn what_is_not_acknowledged_is_gone_after_its_time() {
        let mut book = Book::new().unwrap();
        push(&mut book, 0, "one");
        assert!(give(&mut book, 100).is_some() && give(&mut book, 699).is_some());
        assert_eq!((give(&mut book, 700), state(&mut book, 700)), (None, Some(Given::Expired)));
        push(&mut book, 1000, "two");
        assert_eq!((give(&mut book, 4600), state(&mut book, 4600)), (None, Some(Given::Expired)));
        push(&mut book, 5000, "two");
        assert_eq!(give(&mut book, 5000), None, "expired stays expired");
    }

    #[test]
    fn a_guest_that_is_not_in_the_book_gets_nothing() {
        let mut book = Book::new().unwrap();
        push(&mut book, 0, "one");
        let other: ObjectId = "vm2-0".parse().unwrap();
        assert!(book.give(at(1), &other).is_none() && !book.acknowledge(at(1), &other));
        assert!(!book.acknowledge(at(1), &vm1()), "nothing was handed out yet");
        assert!(book.replace(at(2), []));
        assert_eq!(give(&mut book, 3), None);
    }
}
