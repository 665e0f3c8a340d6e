//! The largest configuration any number of times on the data partition as built.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use sluice_api::MAX_CONFIG;

use super::*;

const MIB: usize = 1 << 20;
/// What is left of the partition's 160 MiB (`image/src/layout.rs`) beside all blobs, 24 MiB, and what a file system wants.
const ROOM: usize = 100 * MIB;
/// A disk of [`ROOM`] bytes: what is replaced is there until the new one is whole.
#[derive(Default)]
struct Partition(Mutex<BTreeMap<String, Vec<u8>>>);

impl Files for Partition {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let used: usize = files.values().map(Vec::len).sum();
        if used + bytes.len() > ROOM {
            return Err(io::ErrorKind::StorageFull.into());
        }
        files.insert(name.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }
}

fn parse(bytes: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    text.trim_end().parse().map_err(|_| "no number".to_owned())
}

/// A number and blanks.
fn largest(number: u64) -> Vec<u8> {
    let mut bytes = number.to_string().into_bytes();
    bytes.resize(MAX_CONFIG, b' ');
    bytes
}

#[test]
fn the_largest_configuration_is_committed_any_number_of_times() {
    let disk = Arc::new(Partition::default());
    let opened = Ledger::open(Arc::clone(&disk) as Arc<dyn Files>, parse);
    let mut ledger = opened.ledger;
    // connections were judged by none of them: what they are to be judged by is kept too
    for number in 1..=9 {
        let bytes = largest(number);
        let entry = Entry::new(number.try_into().unwrap(), number, &bytes);
        ledger.begin(entry, &bytes).unwrap();
        ledger.commit().unwrap();
        ledger.mirror().unwrap();
    }
    let try_out = |ledger: &mut Ledger<u64>, number| {
        let bytes = largest(number);
        ledger.begin(Entry::new(number.try_into().unwrap(), number, &bytes), &bytes).unwrap();
    };
    // and what is tried and given up any number of times takes no room from the next one, whether judged by or not
    for number in 10..30 {
        try_out(&mut ledger, number);
        ledger.abandon().unwrap();
        if number % 2 == 0 {
            let all = ledger.state().unjudged.clone();
            ledger.judged(&all).unwrap();
        }
    }
    // nor does what was under way when the process ended
    for number in 30..33 {
        ledger = Ledger::open(Arc::clone(&disk) as Arc<dyn Files>, parse).ledger;
        try_out(&mut ledger, number);
    }
    ledger.commit().unwrap();
    ledger.mirror().unwrap();
    let opened = Ledger::open(disk as Arc<dyn Files>, parse);
    assert_eq!(opened.alarms, Vec::<String>::new());
    assert_eq!(opened.ledger.state().committed.as_ref().map(|entry| *entry.config), Some(32));
}
