//! What a service writes down in its folder, so that it goes on where it was after it was killed: lines of JSON, added before
//! whoever asked is told.
//!
//! Two files take turns. A new one begins with its number and everything that still counts, and counts from the line that says
//! it is complete: whenever the process ends, one whole file is there. Only opening, reading and adding are needed, which
//! is all that a service may do. Its folder is in RAM: a machine that was booted anew has no file.

use std::fs::{File, OpenOptions, read_to_string};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// Lines beyond those that are needed, after which the other file is begun.
const SPARE: usize = 4096;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line<T> {
    Journal(u64),
    Complete,
    Entry(T),
}

/// The files.
#[derive(Debug)]
pub struct Journal<T> {
    files: Option<[PathBuf; 2]>,
    file: Option<File>,
    number: u64,
    lines: usize,
    entry: PhantomData<fn(&T)>,
}

impl<T> Default for Journal<T> {
    fn default() -> Self {
        Self { files: None, file: None, number: 0, lines: 0, entry: PhantomData }
    }
}

/// What one file holds.
struct Content<T> {
    number: u64,
    complete: bool,
    entries: Vec<T>,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens the journal `name` in `folder`; what is written there, oldest first. Without a folder nothing is kept.
    pub fn open(folder: Option<&Path>, name: &str) -> (Self, Vec<T>) {
        let Some(folder) = folder else { return (Self::default(), Vec::new()) };
        let files = [0, 1].map(|turn| folder.join(format!("{name}.{turn}")));
        let found = files.each_ref().map(|file| content(&read_to_string(file).unwrap_or_default()));
        let latest =
            found.into_iter().filter(|found| found.complete).max_by_key(|found| found.number);
        let (number, entries) = latest.map_or((0, Vec::new()), |it| (it.number, it.entries));
        (Self { files: Some(files), number, ..Self::default() }, entries)
    }

    /// Writes `entries` down; `all` is everything that counts with them, asked for when a file is begun. A disk that takes
    /// nothing is logged, and the service goes on all the same.
    pub fn append(&mut self, entries: &[T], all: impl FnOnce() -> Vec<T>) {
        if self.files.is_none() {
            return;
        }
        let written = if self.file.is_none() || self.lines == 0 {
            self.begin(&all())
        } else {
            self.lines = self.lines.saturating_sub(entries.len());
            self.write(&text(entries))
        };
        if let Err(error) = written {
            warn!(%error, "not written down; will try with the next one");
            self.file = None;
        }
    }

    /// Begins the other file.
    fn begin(&mut self, all: &[T]) -> io::Result<()> {
        let Some([even, odd]) = &self.files else { return Ok(()) };
        self.number += 1;
        let path = if self.number.is_multiple_of(2) { even } else { odd };
        let mut options = OpenOptions::new();
        self.file = Some(options.write(true).create(true).truncate(true).open(path)?);
        self.lines = SPARE + all.len();
        let (head, end) = (line(&Line::<T>::Journal(self.number)), line(&Line::<T>::Complete));
        self.write(&[head, text(all), end].concat())
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(text.as_bytes()))
    }
}

/// The lines of a file up to the first that cannot be read, which is the last one of a process that was killed.
fn content<T: DeserializeOwned>(text: &str) -> Content<T> {
    let mut content = Content { number: 0, complete: false, entries: Vec::new() };
    for line in text.lines().map_while(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Journal(number) => content.number = number,
            Line::Complete => content.complete = true,
            Line::Entry(entry) => content.entries.push(entry),
        }
    }
    content
}

fn text<T: Serialize>(entries: &[T]) -> String {
    entries.iter().map(|entry| line(&Line::Entry(entry))).collect()
}

fn line<T: Serialize>(line: &Line<T>) -> String {
    // what services write down always has a JSON form
    serde_json::to_string(line).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &tempfile::TempDir) -> (Journal<u32>, Vec<u32>) {
        Journal::open(Some(folder.path()), "numbers")
    }

    #[test]
    fn what_was_written_is_found_again_whatever_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, found) = open(&folder);
        assert!(found.is_empty());
        journal.append(&[1], || vec![1]);
        journal.append(&[2], || panic!("not begun anew"));
        journal.append(&[1], || panic!("not begun anew"));
        assert_eq!(open(&folder).1, [1, 2, 1]);

        // the next process begins the other file, and is killed before it is complete
        let (mut journal, _) = open(&folder);
        journal.append(&[3], || vec![3]);
        let other = folder.path().join("numbers.0");
        let whole = read_to_string(&other).unwrap();
        assert_eq!(open(&folder).1, [3]);
        for cut in 0..whole.len() - "\"complete\"\n".len() {
            std::fs::write(&other, &whole[..cut]).unwrap();
            assert_eq!(open(&folder).1, [1, 2, 1], "cut at {cut}");
        }
    }

    #[test]
    fn a_long_journal_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(&folder);
        for _ in 0..3 * SPARE {
            journal.append(&[7], || vec![7]);
        }
        assert!(journal.number >= 2);
        for turn in ["numbers.0", "numbers.1"] {
            let text = read_to_string(folder.path().join(turn)).unwrap();
            assert!(text.lines().count() <= SPARE + 4, "{turn}");
        }
        assert_eq!(open(&folder).1.last(), Some(&7));
    }

    #[test]
    fn a_folder_that_is_gone_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(&folder);
        std::fs::remove_dir(folder.path()).unwrap();
        journal.append(&[1], || vec![1]);
        assert!(Journal::<u32>::open(None, "numbers").1.is_empty());
    }
}
