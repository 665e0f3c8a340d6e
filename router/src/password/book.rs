//! Which password waits for whom: sans-I/O, time comes in.
//!
//! Guarantees: each password is handed out until its guest says that it has it, but no longer than [`RETRY`] after the first
//! time (a client whose connection broke asks again), and never after its time is over. The same password pushed again is
//! the same password: what was taken stays taken, also by what was written down before a restart. A new one for the guest
//! replaces the old and starts anew.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_api::types::{BlobDigest, ObjectId, Secret};

use super::sealed::{Safe, Sealed};

/// How long after a password was first handed out it may be asked for again: 10 min, which covers the retries of every
/// client that does not acknowledge.
pub const RETRY: Duration = Duration::from_mins(10);

/// What became of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Wipes what is over; true when it was not before.
    fn expire(&mut self, now: Duration) -> bool {
        let ends = self.secret.is_some() && now >= self.expires;
        if ends {
            self.end(Given::Expired);
        }
        ends
    }

    fn end(&mut self, given: Given) {
        self.secret = None;
        self.given = given;
    }

    fn over(&self, guest: &ObjectId) -> Over {
        Over { guest: guest.clone(), digest: self.digest, given: self.given }
    }
}

/// A password that is over, as it is written down and read again after a restart. Its digest tells nothing of it: it is made
/// over a line of random text too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Over {
    guest: ObjectId,
    digest: BlobDigest,
    given: Given,
}

/// All passwords.
#[derive(Debug)]
pub(super) struct Book {
    safe: Safe,
    entries: HashMap<ObjectId, Entry>,
    /// What was over before a restart, until it is heard of again.
    before: HashMap<ObjectId, Over>,
    changes: Vec<Over>,
}

impl Book {
    /// A book that holds nothing, and knows what was `over` before a restart, oldest first; `None` when the system has no
    /// randomness to give.
    pub(super) fn new(over: Vec<Over>) -> Option<Self> {
        let before = over.into_iter().map(|over| (over.guest.clone(), over)).collect();
        Some(Self { safe: Safe::new()?, entries: HashMap::new(), before, changes: Vec::new() })
    }

    /// What is over since this was asked last. It is to be written down before the guest is answered.
    pub(super) fn changes(&mut self) -> Vec<Over> {
        std::mem::take(&mut self.changes)
    }

    /// All that is over.
    pub(super) fn all_over(&self) -> Vec<Over> {
        let over = self.entries.iter().filter(|(_, entry)| entry.secret.is_none());
        let over = over.map(|(guest, entry)| entry.over(guest));
        over.chain(self.before.values().cloned()).collect()
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

    fn enter(&mut self, now: Duration, incoming: &Incoming<'_>) -> Option<Entry> {
        let before = self.before.remove(incoming.guest);
        let (secret, given) = match before.filter(|over| over.digest == *incoming.digest) {
            Some(over) => (None, over.given),
            None => (Some(self.safe.seal(incoming.secret)?), Given::Waiting),
        };
        let expires = now.saturating_add(incoming.valid);
        Some(Entry { digest: *incoming.digest, secret, expires, given })
    }

    /// The entry of `guest` as it is now.
    fn entry(&mut self, now: Duration, guest: &ObjectId) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(guest)?;
        if entry.expire(now) {
            self.changes.push(entry.over(guest));
        }
        Some(entry)
    }

    /// The password of `guest`, if one is to be handed out.
    pub(super) fn give(&mut self, now: Duration, guest: &ObjectId) -> Option<Secret> {
        self.entry(now, guest)?;
        let entry = self.entries.get_mut(guest)?;
        let secret = self.safe.open(entry.secret.as_ref()?)?;
        if entry.given == Given::Waiting {
            entry.given = Given::Sent;
            entry.expires = entry.expires.min(now.saturating_add(RETRY));
        }
        Some(secret)
    }

    /// `guest` has its password; true when one was handed out to it.
    pub(super) fn acknowledge(&mut self, now: Duration, guest: &ObjectId) -> bool {
        let Some(entry) = self.entry(now, guest) else { return false };
        if entry.given != Given::Sent {
            return false;
        }
        entry.end(Given::Acknowledged);
        let over = entry.over(guest);
        self.changes.push(over);
        true
    }

    /// What became of each password.
    pub(super) fn states(&mut self, now: Duration) -> impl Iterator<Item = (&ObjectId, Given)> {
        let ended = self.entries.iter_mut().filter_map(|(guest, entry)| {
            let ends = entry.expire(now);
            ends.then(|| entry.over(guest))
        });
        self.changes.extend(ended);
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
        let mut book = Book::new(Vec::new()).unwrap();
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
        let mut book = Book::new(Vec::new()).unwrap();
        push(&mut book, 0, "one");
        assert!(give(&mut book, 100).is_some() && give(&mut book, 699).is_some());
        assert_eq!((give(&mut book, 700), state(&mut book, 700)), (None, Some(Given::Expired)));
        push(&mut book, 1000, "two");
        assert_eq!((give(&mut book, 4600), state(&mut book, 4600)), (None, Some(Given::Expired)));
        push(&mut book, 5000, "two");
        assert_eq!(give(&mut book, 5000), None, "expired stays expired");
    }

    #[test]
    fn what_is_over_stays_over_after_a_restart() {
        for (ended, given) in [(12, Given::Acknowledged), (4000, Given::Expired)] {
            let mut book = Book::new(Vec::new()).unwrap();
            push(&mut book, 0, "one");
            assert!(give(&mut book, 10).is_some());
            assert_eq!(book.changes(), [], "it may be asked for again");
            assert_eq!(book.acknowledge(at(ended), &vm1()), given == Given::Acknowledged);
            let written = book.changes();
            assert_eq!((written.len(), book.changes().len()), (1, 0));
            assert_eq!(book.all_over(), written);

            let mut next = Book::new(written.clone()).unwrap();
            assert_eq!(next.all_over(), written);
            push(&mut next, 0, "one");
            assert_eq!((give(&mut next, 1), state(&mut next, 1)), (None, Some(given)));
            assert_eq!(next.all_over(), written);
            push(&mut next, 2, "two");
            assert_eq!(give(&mut next, 3).as_deref(), Some("two"));
        }
    }

    #[test]
    fn a_guest_that_is_not_in_the_book_gets_nothing() {
        let mut book = Book::new(Vec::new()).unwrap();
        push(&mut book, 0, "one");
        let other: ObjectId = "vm2-0".parse().unwrap();
        assert!(book.give(at(1), &other).is_none() && !book.acknowledge(at(1), &other));
        assert!(!book.acknowledge(at(1), &vm1()), "nothing was handed out yet");
        assert!(book.replace(at(2), []));
        assert_eq!(give(&mut book, 3), None);
    }
}
