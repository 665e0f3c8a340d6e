//! Which member a client is bound to, remembered for a time: a bounded table that forgets what was unused longest.
//!
//! All entries of a table last equally long, so the order of use is the order of expiry. Not here: locks and clocks; time
//! is given as milliseconds since some start.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Clients and their members.
#[derive(Debug)]
pub struct Table<K> {
    entries: HashMap<K, Entry>,
    /// Use number to client, the one unused longest first.
    uses: BTreeMap<u64, K>,
    next_use: u64,
    most: usize,
    hold: u64,
}

#[derive(Debug)]
struct Entry {
    member: u64,
    used: u64,
    expires: u64,
}

impl<K: Hash + Eq + Clone> Table<K> {
    /// A table of at most `most` clients, each kept `hold` milliseconds after its last use.
    pub fn new(most: usize, hold: u64) -> Self {
        Self { entries: HashMap::new(), uses: BTreeMap::new(), next_use: 0, most, hold }
    }

    /// The member of `key`, which counts as a use.
    pub fn find(&mut self, key: &K, now: u64) -> Option<u64> {
        self.expire(now);
        let entry = self.entries.get_mut(key)?;
        self.uses.remove(&entry.used);
        entry.used = self.next_use;
        entry.expires = now.saturating_add(self.hold);
        self.uses.insert(entry.used, key.clone());
        self.next_use += 1;
        Some(entry.member)
    }

    /// Binds `key` to `member`.
    pub fn bind(&mut self, key: K, member: u64, now: u64) {
        self.expire(now);
        let used = self.next_use;
        self.next_use += 1;
        let entry = Entry { member, used, expires: now.saturating_add(self.hold) };
        self.uses.insert(used, key.clone());
        if let Some(former) = self.entries.insert(key, entry) {
            self.uses.remove(&former.used);
        }
        while self.entries.len() > self.most {
            self.forget_first();
        }
    }

    /// Every binding with the milliseconds that it has left, the one unused longest first.
    pub fn bindings(&self, now: u64) -> Vec<(K, u64, u64)> {
        let entries = self.uses.values().filter_map(|key| Some((key, self.entries.get(key)?)));
        let left = |entry: &Entry| entry.expires.saturating_sub(now);
        entries.map(|(key, entry)| (key.clone(), entry.member, left(entry))).collect()
    }

    /// Takes in bindings of another table, in the order in which they were used.
    pub fn go_on(&mut self, bindings: Vec<(K, u64, u64)>, now: u64) {
        for (key, member, left) in bindings {
            self.bind(key.clone(), member, now);
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.expires = now.saturating_add(left.min(self.hold));
            }
        }
    }

    /// Clients remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets who was not seen for long enough.
    pub fn expire(&mut self, now: u64) {
        while let Some((_, key)) = self.uses.first_key_value() {
            if self.entries.get(key).is_some_and(|entry| entry.expires > now) {
                return;
            }
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.uses.pop_first() {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_lasts_from_its_last_use() {
        let mut table = Table::new(10, 100);
        table.bind("a", 1, 0);
        assert_eq!(table.find(&"a", 99), Some(1));
        assert_eq!(table.find(&"a", 198), Some(1));
        assert_eq!(table.find(&"a", 298), None);
        assert!(table.is_empty() && table.uses.is_empty());
    }

    #[test]
    fn the_one_unused_longest_gives_way() {
        let mut table = Table::new(2, 100);
        table.bind("a", 1, 0);
        table.bind("b", 2, 1);
        assert_eq!(table.find(&"a", 2), Some(1));
        table.bind("c", 3, 3);
        assert_eq!(
            (table.find(&"a", 4), table.find(&"b", 4), table.find(&"c", 4)),
            (Some(1), None, Some(3))
        );
        assert_eq!((table.len(), table.uses.len()), (2, 2));
    }

    #[test]
    fn bindings_go_on_in_another_table_for_the_time_they_have_left() {
        let mut table = Table::new(10, 100);
        table.bind("a", 1, 0);
        table.bind("b", 2, 50);
        let mut other = Table::new(10, 100);
        other.go_on(table.bindings(60), 1000);
        assert_eq!(other.find(&"a", 1039), Some(1));
        assert_eq!(other.find(&"b", 1090), None);
        assert_eq!(other.find(&"a", 1138), Some(1), "a use counts anew");
    }

    #[test]
    fn a_client_is_bound_anew() {
        let mut table = Table::new(2, 100);
        table.bind("a", 1, 0);
        table.bind("a", 2, 1);
        assert_eq!(table.find(&"a", 2), Some(2));
        assert_eq!((table.len(), table.uses.len()), (1, 1));
    }
}
