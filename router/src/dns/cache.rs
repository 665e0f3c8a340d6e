//! Answers of upstreams, kept while their time lasts, in bounded memory.
//!
//! Guarantees: never more bytes than asked for; what was used since it was last looked at outlives what was not (second
//! chance); an answer past its time is never given (serve-stale, RFC 8767, is off). Keys are whole questions, so one
//! answer cannot smuggle in records for another name.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{
    BinDecodable as _, BinDecoder, BinEncodable as _, BinEncoder,
};

use super::query::Query;
use super::stored::Stored;
use super::wire::flag;

/// Locks, so that threads rarely wait for each other.
const SHARDS: usize = 16;
/// Memory of an entry besides its key and its answer: two map slots and their pointers.
const OVERHEAD: usize = 160;

/// A question as it is told apart: name in lower case, type, the two bits that change what upstreams answer, and which
/// upstreams are asked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<[u8]>);

/// A key on the stack: looking up allocates nothing.
struct KeyBuffer {
    bytes: [u8; 259],
    length: usize,
}

impl KeyBuffer {
    fn of(query: &Query<'_>, group: u8) -> Self {
        let mut buffer = Self { bytes: [0; 259], length: 0 };
        let bits = u8::from(query.dnssec_ok()) << 1 | u8::from(query.has(flag::CD));
        let [high, low] = query.qtype.to_be_bytes();
        for part in [query.name.as_bytes(), &[high, low, bits, group]] {
            let end = buffer.length + part.len();
            if let Some(place) = buffer.bytes.get_mut(buffer.length..end) {
                place.copy_from_slice(part);
                buffer.length = end;
            }
        }
        buffer
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Key {
    /// The key of `query` to the upstreams with number `group`.
    pub(super) fn of(query: &Query<'_>, group: u8) -> Self {
        Self(KeyBuffer::of(query, group).as_bytes().into())
    }

    /// The key of a question that is asked to prove another: with DNSSEC's records, and unchecked.
    pub(super) fn to_prove(query: &hickory_proto::op::Query) -> Option<Self> {
        let mut name = Vec::with_capacity(64);
        query.name().to_lowercase().emit(&mut BinEncoder::new(&mut name)).ok()?;
        let [high, low] = u16::from(query.query_type()).to_be_bytes();
        // which resolvers is known to whoever asks
        name.extend([high, low, 3, 0]);
        Some(Self(name.into()))
    }

    /// The question.
    pub(super) fn query(&self) -> Option<hickory_proto::op::Query> {
        let (name, rtype) = self.name_and_type();
        let name = Name::read(&mut BinDecoder::new(name)).ok()?;
        Some(hickory_proto::op::Query::query(name, RecordType::from(rtype)))
    }

    /// Name and its end: type, bits, group.
    fn parts(&self) -> (&[u8], [u8; 4]) {
        self.0.split_last_chunk().map_or((&[], [0; 4]), |(name, end)| (name, *end))
    }

    /// Name in lower case, type.
    pub(super) fn name_and_type(&self) -> (&[u8], u16) {
        let (name, [high, low, ..]) = self.parts();
        (name, u16::from_be_bytes([high, low]))
    }

    /// Whether DNSSEC records are asked for.
    pub(super) fn dnssec_ok(&self) -> bool {
        self.parts().1[2] & 2 != 0
    }

    /// Whether the upstream is told not to validate.
    pub(super) fn checking_disabled(&self) -> bool {
        self.parts().1[2] & 1 != 0
    }

    /// Which upstreams are asked.
    pub(super) fn group(&self) -> u8 {
        self.parts().1[3]
    }
}

/// The cache, shared by all threads.
pub struct Cache {
    shards: Vec<Mutex<Shard>>,
    shard_bytes: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// Oldest first; each key of `entries` once.
    order: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

struct Entry {
    stored: Arc<Stored>,
    since: u32,
    used: bool,
}

impl Entry {
    fn bytes(&self, key: &[u8]) -> usize {
        OVERHEAD + key.len() + self.stored.bytes()
    }
}

impl Cache {
    /// An empty cache of at most `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, shard_bytes: AtomicUsize::new(bytes / SHARDS) }
    }

    /// What is kept of `group` for `query`, `now` seconds after the service's start; handed to `use_it` with its age.
    pub(super) fn get<T>(
        &self,
        query: &Query<'_>,
        group: u8,
        now: u32,
        use_it: impl FnOnce(&Stored, u32) -> T,
    ) -> Option<T> {
        let key = KeyBuffer::of(query, group);
        let mut shard = self.shard(key.as_bytes());
        let entry = shard.entries.get_mut(key.as_bytes())?;
        let age = now.saturating_sub(entry.since);
        if age >= entry.stored.lifetime {
            return None;
        }
        entry.used = true;
        Some(use_it(&entry.stored, age))
    }

    /// Keeps `stored` for `key` from `now` on, in place of what was there.
    pub fn insert(&self, key: &Key, stored: Arc<Stored>, now: u32) {
        let entry = Entry { stored, since: now, used: false };
        let bytes = entry.bytes(&key.0);
        let limit = self.shard_bytes.load(Ordering::Relaxed);
        if entry.stored.lifetime == 0 || bytes > limit {
            return;
        }
        let mut shard = self.shard(&key.0);
        match shard.entries.insert(key.0.clone(), entry) {
            Some(old) => shard.bytes -= old.bytes(&key.0),
            None => shard.order.push_back(key.0.clone()),
        }
        shard.bytes += bytes;
        shard.shrink(limit);
    }

    /// Holds at most `bytes` bytes from the next answer on.
    pub fn limit(&self, bytes: usize) {
        self.shard_bytes.store(bytes / SHARDS, Ordering::Relaxed);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            *lock(shard) = Shard::default();
        }
    }

    /// Entries and bytes in use.
    pub fn usage(&self) -> (usize, usize) {
        self.shards.iter().map(lock).fold((0, 0), |(entries, bytes), shard| {
            (entries + shard.entries.len(), bytes + shard.bytes)
        })
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        // spreads well enough over a few locks; the maps themselves are keyed against flooding
        let sum =
            key.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
        let index = sum % SHARDS;
        #[allow(clippy::indexing_slicing)] // `new` makes exactly SHARDS of them
        lock(&self.shards[index])
    }
}

impl Shard {
    /// Second chance: what was used since it was last here goes to the end once more.
    fn shrink(&mut self, limit: usize) {
        while self.bytes > limit {
            let Some(key) = self.order.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            if std::mem::take(&mut entry.used) {
                self.order.push_back(key);
                continue;
            }
            self.bytes -= entry.bytes(&key);
            self.entries.remove(&key);
        }
    }
}

/// A thread that panicked inside leaves at worst a wrong byte count behind.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::slice::Settings;
    use crate::dns::stored::{Asked, Vetted};

    /// A query for `n<number>.test A` and an answer that lives 300 s.
    fn query(number: u16) -> (Vec<u8>, Stored) {
        let question = format!("\x05{number:05}\x04test\0\0\x01\0\x01");
        let tail = [b"\0\x01\0\0\0\0\0\0", question.as_bytes()].concat();
        let mut response = [b"\0\x07\x81\x80", &tail[..]].concat();
        response[7] = 1;
        response.extend(b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\xc0\0\x02\x50");
        let asked = Asked { id: 7, question: question.as_bytes(), exact_case: true };
        let Ok(Vetted::Whole(stored)) = Stored::vet(&response, asked, &Settings::default()) else {
            panic!("a good answer");
        };
        ([b"\0\x07\x01\0", &tail[..]].concat(), stored)
    }

    fn insert(cache: &Cache, number: u16, now: u32) {
        let (message, stored) = query(number);
        cache.insert(&Key::of(&Query::read(&message).unwrap(), 0), Arc::new(stored), now);
    }

    fn holds(cache: &Cache, number: u16, now: u32) -> bool {
        let (message, _) = query(number);
        cache.get(&Query::read(&message).unwrap(), 0, now, |_, _| ()).is_some()
    }

    #[test]
    fn answers_are_kept_for_their_time_and_not_a_second_longer() {
        let cache = Cache::new(1 << 20);
        insert(&cache, 1, 1000);
        assert!(holds(&cache, 1, 1000) && holds(&cache, 1, 1299));
        assert!(!holds(&cache, 1, 1300));
        assert!(!holds(&cache, 2, 1000));
        cache.clear();
        assert!(!holds(&cache, 1, 1000));
        assert_eq!(cache.usage(), (0, 0));
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let cache = Cache::new(64 * 1024);
        insert(&cache, 0, 0);
        for number in 1..5000 {
            insert(&cache, number, 0);
            assert!(holds(&cache, 0, 0), "used all the time, lost at {number}");
        }
        let (entries, bytes) = cache.usage();
        assert!(bytes <= 64 * 1024 && entries > 50, "{entries} entries, {bytes} bytes");
        assert!(!holds(&cache, 1, 0), "not used since");
    }

    #[test]
    fn a_newer_answer_replaces_the_older_and_its_bytes() {
        let cache = Cache::new(1 << 20);
        insert(&cache, 1, 0);
        let before = cache.usage();
        insert(&cache, 1, 500);
        assert_eq!(cache.usage(), before);
        assert!(holds(&cache, 1, 500));
    }
}
