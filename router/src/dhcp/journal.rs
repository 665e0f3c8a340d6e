//! Loans on disk: written down before the client is told, so that a server that was killed goes on where it was.
//!
//! Times are seconds of the wall clock; where that is wrong a loan ends too early or too late on paper, and nothing else: an
//! address that is given again is asked about on its link first. A folder in RAM is enough: a router that was rebuilt has no
//! file either, and is right without one (see [`super::lent`]).

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sluice_agent::service;
use sluice_api::types::{LinkName, MacAddr};

use super::lent::Change;

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    link: LinkName,
    mac: MacAddr,
    address: Ipv4Addr,
    /// Unix seconds; 0 is over, the largest is for ever.
    until: u64,
}

/// The loans that are written down.
#[derive(Debug, Default)]
pub(crate) struct Journal(service::Journal<Written>);

impl Journal {
    /// Opens the journal in `folder`; what is written there, by a clock that begins now. Without a folder nothing is kept.
    pub(crate) fn open(folder: Option<&Path>) -> (Self, Vec<Change>) {
        let (journal, loans) = service::Journal::open(folder, "leases");
        let wall = unix();
        (Self(journal), loans.into_iter().map(|loan: Written| loan.read(wall)).collect())
    }

    /// Writes `changes` down; `all` is everything that is lent, asked for when a file is begun.
    pub(crate) fn append(
        &mut self,
        now: Duration,
        changes: &[Change],
        all: impl FnOnce() -> Vec<Change>,
    ) {
        let wall = unix();
        let written = |changes: &[Change]| {
            changes.iter().map(|change| Written::new(change, now, wall)).collect::<Vec<_>>()
        };
        self.0.append(&written(changes), || written(&all()));
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

    #[test]
    fn what_was_lent_is_found_again_with_what_is_left_of_its_time() {
        const NOW: Duration = Duration::from_secs(50);
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, loans) = Journal::open(Some(folder.path()));
        assert_eq!(loans, []);
        let first = change(1, NOW + Duration::from_secs(100));
        journal.append(NOW, std::slice::from_ref(&first), || vec![first.clone()]);
        journal.append(NOW, &[change(2, Duration::MAX)], || panic!("not begun anew"));
        journal.append(NOW, &[change(1, Duration::ZERO)], || panic!("not begun anew"));
        let (_, loans) = Journal::open(Some(folder.path()));
        let [first, second, third] = <[Change; 3]>::try_from(loans).unwrap();
        // the clock may have gone on by a second
        assert!((95..=100).contains(&first.until.as_secs()), "{first:?}");
        assert_eq!(second, change(2, Duration::MAX));
        assert_eq!(third, change(1, Duration::ZERO));
    }
}
