//! Loans on disk: lines that are added before the client is told, so that a server that was killed goes on where it was.
//!
//! Two files take turns. A new one begins with its number and everything that is lent, and counts from the line that says it is
//! complete: whenever the process ends, one whole file is there. Only opening, reading and adding are needed, which is
//! all that the process may do. Times are seconds of the wall clock; where that is wrong a loan ends too early or too late
//! on paper, and nothing else: an address that is given again is asked about on its link first.
//!
//! A folder in RAM is enough: a router that was rebuilt has no file either, and is right without one (see [`super::lent`]).

use std::fs::{File, OpenOptions, read_to_string};
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sluice_api::types::{LinkName, MacAddr};
use tracing::warn;

use super::lent::Change;

const FILES: [&str; 2] = ["leases.0", "leases.1"];
/// Lines beyond those that are needed, after which the other file is begun.
const SPARE: usize = 4096;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Journal(u64),
    Complete,
    Loan(Written),
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    link: LinkName,
    mac: MacAddr,
    address: Ipv4Addr,
    /// Unix seconds; 0 is over, the largest is for ever.
    until: u64,
}

/// The files.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    folder: Option<PathBuf>,
    file: Option<File>,
    number: u64,
    lines: usize,
}

/// What one file holds.
#[derive(Default)]
struct Content {
    number: u64,
    complete: bool,
    loans: Vec<Written>,
}

impl Journal {
    /// Opens the journal in `folder`; what is written there, by a clock that begins now. Without a folder nothing is kept.
    pub(crate) fn open(folder: Option<&Path>) -> (Self, Vec<Change>) {
        let Some(folder) = folder else { return (Self::default(), Vec::new()) };
        let found =
            FILES.map(|name| content(&read_to_string(folder.join(name)).unwrap_or_default()));
        let latest =
            found.into_iter().filter(|found| found.complete).max_by_key(|found| found.number);
        let Content { number, loans, .. } = latest.unwrap_or_default();
        let wall = unix();
        let loans = loans.into_iter().map(|loan| loan.read(wall)).collect();
        let this = Self { folder: Some(folder.to_owned()), file: None, number, lines: usize::MAX };
        (this, loans)
    }

    /// Writes `changes` down; `all` is everything that is lent, asked for when a file is begun. A disk that takes nothing is
    /// logged, and guests are served all the same.
    pub(crate) fn append(
        &mut self,
        now: Duration,
        changes: &[Change],
        all: impl FnOnce() -> Vec<Change>,
    ) {
        if self.folder.is_none() {
            return;
        }
        let written = if self.file.is_none() || self.lines == 0 {
            self.begin(now, &all())
        } else {
            self.lines = self.lines.saturating_sub(changes.len());
            self.write(text(now, changes))
        };
        if let Err(error) = written {
            warn!(%error, "dhcp leases not written down; will try with the next one");
            self.file = None;
        }
    }

    /// Begins the other file.
    fn begin(&mut self, now: Duration, all: &[Change]) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        self.number += 1;
        let [even, odd] = FILES;
        let name = if self.number.is_multiple_of(2) { even } else { odd };
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).open(folder.join(name))?;
        self.file = Some(file);
        self.lines = SPARE + all.len();
        let (head, end) = (line(&Line::Journal(self.number)), line(&Line::Complete));
        self.write([head, text(now, all), end].concat())
    }

    fn write(&mut self, text: String) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(text.as_bytes()))
    }
}

impl Written {
    fn new(change: &Change, now: Duration, wall: u64) -> Self {
        let until = match change.until {
            Duration::ZERO => 0,
            Duration::MAX => u64::MAX,
            until => wall.saturating_add(until.saturating_sub(now).as_secs()),
        };
        Self { link: change.link.clone(), mac: change.mac, address: change.address, until }
    }

    fn read(self, wall: u64) -> Change {
        let until = match self.until {
            u64::MAX => Duration::MAX,
            until => Duration::from_secs(until.saturating_sub(wall)),
        };
        Change { link: self.link, mac: self.mac, address: self.address, until }
    }
}

/// The lines of a file up to the first that cannot be read, which is the last one of a process that was killed.
fn content(text: &str) -> Content {
    let mut content = Content::default();
    for line in text.lines().map_while(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Journal(number) => content.number = number,
            Line::Complete => content.complete = true,
            Line::Loan(loan) => content.loans.push(loan),
        }
    }
    content
}

fn text(now: Duration, changes: &[Change]) -> String {
    let wall = unix();
    changes.iter().map(|change| line(&Line::Loan(Written::new(change, now, wall)))).collect()
}

fn line(line: &Line) -> String {
    // names and numbers always have a JSON form
    serde_json::to_string(line).unwrap_or_default() + "\n"
}

fn unix() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(last: u8, until: Duration) -> Change {
        Change {
            link: "guest0".parse().unwrap(),
            mac: MacAddr::from_bytes([2, 0, 0, 0, 0, last]).unwrap(),
            address: Ipv4Addr::new(10, 1, 1, last),
            until,
        }
    }

    const NOW: Duration = Duration::from_secs(50);

    fn read(folder: &Path) -> Vec<(u8, u64)> {
        let (_, loans) = Journal::open(Some(folder));
        // the clock may have gone on by a second
        loans
            .iter()
            .map(|loan| (loan.address.octets()[3], loan.until.as_secs().div_ceil(10) * 10))
            .collect()
    }

    #[test]
    fn what_was_lent_is_found_again_whatever_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, loans) = Journal::open(Some(folder.path()));
        assert_eq!(loans, []);
        let first = change(1, NOW + Duration::from_secs(100));
        journal.append(NOW, std::slice::from_ref(&first), || vec![first.clone()]);
        journal
            .append(NOW, &[change(2, NOW + Duration::from_secs(200))], || panic!("not begun anew"));
        journal.append(NOW, &[change(1, Duration::ZERO)], || panic!("not begun anew"));
        assert_eq!(read(folder.path()), [(1, 100), (2, 200), (1, 0)]);

        // the next process begins the other file, and is killed before it is complete
        let (mut journal, _) = Journal::open(Some(folder.path()));
        journal.append(NOW, &[change(3, Duration::MAX)], || vec![change(3, Duration::MAX)]);
        let other = folder.path().join(FILES[0]);
        let whole = read_to_string(&other).unwrap();
        assert_eq!(Journal::open(Some(folder.path())).1, [change(3, Duration::MAX)]);
        for cut in 0..whole.len() - "\"complete\"\n".len() {
            std::fs::write(&other, &whole[..cut]).unwrap();
            assert_eq!(read(folder.path()), [(1, 100), (2, 200), (1, 0)], "cut at {cut}");
        }
    }

    #[test]
    fn a_long_journal_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(Some(folder.path()));
        let one = change(1, Duration::MAX);
        for _ in 0..3 * SPARE {
            journal.append(NOW, std::slice::from_ref(&one), || vec![one.clone()]);
        }
        assert!(journal.number >= 2);
        let lines =
            |name| read_to_string(folder.path().join(name)).unwrap_or_default().lines().count();
        assert!(FILES.into_iter().all(|name| lines(name) <= SPARE + 4));
        assert_eq!(Journal::open(Some(folder.path())).1.last(), Some(&one));
    }
}
