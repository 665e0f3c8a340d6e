//! The ring.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sluice_api::report::{LogEntry, LogLevel, LogPage};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Entries kept.
const ENTRIES: usize = 4096;
/// Bytes of text kept.
const BYTES: usize = 1024 * 1024;
/// Longest message; a longer one is cut, so that one line cannot push out all others.
const MESSAGE: usize = 4096;
/// Most entries in one page.
const PAGE: usize = 1000;

/// The newest log entries, oldest pushed out first.
#[derive(Debug)]
pub struct LogRing {
    entries: usize,
    bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<LogEntry>,
    bytes: usize,
    last: u64,
}

impl Default for LogRing {
    fn default() -> Self {
        Self::new(ENTRIES, BYTES)
    }
}

impl LogRing {
    /// A ring of at most so many entries and bytes of text.
    pub fn new(entries: usize, bytes: usize) -> Self {
        Self { entries, bytes, kept: Mutex::default() }
    }

    /// Adds an entry.
    pub fn push(&self, level: LogLevel, target: &str, message: &str) {
        let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let mut kept = self.lock();
        kept.last += 1;
        let entry = LogEntry {
            sequence: kept.last,
            at,
            level,
            target: cut(target, MESSAGE),
            message: cut(message, MESSAGE),
        };
        kept.bytes += size(&entry);
        kept.entries.push_back(entry);
        while kept.entries.len() > self.entries || kept.bytes > self.bytes {
            let Some(oldest) = kept.entries.pop_front() else { break };
            kept.bytes -= size(&oldest);
        }
    }

    /// The entries after number `after` (0: all), oldest first, at most `limit` and never more than a thousand.
    pub fn page(&self, after: u64, limit: usize) -> LogPage {
        let kept = self.lock();
        let oldest = kept.entries.front().map_or(kept.last + 1, |entry| entry.sequence);
        let entries: Vec<LogEntry> = kept
            .entries
            .iter()
            .skip_while(|entry| entry.sequence <= after)
            .take(limit.min(PAGE))
            .cloned()
            .collect();
        // a reader from before a restart is ahead of us; it starts anew at what there is
        let next_after =
            entries.last().map_or_else(|| after.min(kept.last), |entry| entry.sequence);
        LogPage { entries, lost: oldest.saturating_sub(after.saturating_add(1)), next_after }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // nothing between two changes can panic, so what a panic elsewhere left is whole
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(entry: &LogEntry) -> usize {
    entry.at.len() + entry.target.len() + entry.message.len()
}

fn cut(text: &str, most: usize) -> String {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(entries: usize, bytes: usize, messages: &[&str]) -> LogRing {
        let ring = LogRing::new(entries, bytes);
        for message in messages {
            ring.push(LogLevel::Info, "t", message);
        }
        ring
    }

    fn messages(page: &LogPage) -> Vec<&str> {
        page.entries.iter().map(|entry| entry.message.as_str()).collect()
    }

    #[test]
    fn a_reader_gets_each_entry_once_and_learns_what_it_missed() {
        let ring = ring(3, 10_000, &["a", "b", "c", "d", "e"]);
        let page = ring.page(0, 2);
        assert_eq!((messages(&page), page.lost, page.next_after), (vec!["c", "d"], 2, 4));
        let page = ring.page(page.next_after, 2);
        assert_eq!((messages(&page), page.lost, page.next_after), (vec!["e"], 0, 5));
        let page = ring.page(page.next_after, 2);
        assert_eq!((messages(&page), page.lost, page.next_after), (vec![], 0, 5));
    }

    #[test]
    fn bytes_are_bounded_and_one_message_is_cut_at_a_character() {
        let long = "ä".repeat(5000);
        let ring = ring(100, 10_000, &[&long, &long, &long]);
        let page = ring.page(0, 10);
        assert_eq!((page.entries.len(), page.lost), (2, 1));
        assert!(page.entries.iter().all(|entry| entry.message.len() <= MESSAGE));
    }

    #[test]
    fn a_reader_that_is_ahead_starts_anew() {
        assert_eq!(ring(3, 10_000, &["a"]).page(900, 10).next_after, 1);
    }
}
