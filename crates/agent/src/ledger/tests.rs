use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use super::*;

type Content = BTreeMap<String, Vec<u8>>;

/// A disk with room for so many writes of pages.
struct Disk(Mutex<(usize, Content)>);

impl Disk {
    fn new(room: usize, content: Content) -> Arc<Self> {
        Arc::new(Self(Mutex::new((room, content))))
    }

    fn content(&self) -> Content {
        self.0.lock().unwrap().1.clone()
    }
}

impl Files for Disk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().1.get(name).cloned())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        if NAMES.contains(&name) {
            disk.0 = disk.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        }
        disk.1.insert(name.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().1.remove(name);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().1.keys().cloned().collect())
    }
}

fn entry(number: u64) -> Entry<u64> {
    let generation = number.try_into().unwrap();
    Entry::new(generation, number, &bytes(number))
}

fn bytes(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn parse(bytes: &[u8]) -> Result<u64, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn begin(ledger: &mut Ledger<u64>, number: u64) {
    ledger.begin(entry(number), &bytes(number)).unwrap();
}

fn reopen(disk: &Arc<Disk>) -> (Ledger<u64>, Vec<String>) {
    let Opened { ledger, alarms, .. } = Ledger::open(Arc::clone(disk) as Arc<dyn Files>, parse);
    (ledger, alarms)
}

/// The ledger in `content`, on a disk with plenty of room, as a start of the agent finds and leaves it.
fn open(content: Content) -> (Ledger<u64>, Vec<String>, Arc<Disk>) {
    let disk = Disk::new(99, content);
    let (mut ledger, alarms) = reopen(&disk);
    ledger.abandon().unwrap();
    (ledger, alarms, disk)
}

/// A commit as the engine makes it: one page, and soon after it the other.
fn commit(ledger: &mut Ledger<u64>) {
    ledger.commit().unwrap();
    ledger.mirror().unwrap();
}

/// The disk after so many commits, each of the next number.
fn committed(commits: u64) -> Content {
    let (mut ledger, alarms, disk) = open(Content::new());
    assert_eq!(alarms, Vec::<String>::new());
    for number in 1..=commits {
        begin(&mut ledger, number);
        commit(&mut ledger);
    }
    disk.content()
}

/// Everything that one damage can make of a page: cut anywhere, any bit or byte turned, emptied, gone.
fn damages(page: &[u8]) -> impl Iterator<Item = Option<Vec<u8>>> + '_ {
    let cut = (0..page.len()).map(|length| page[..length].to_vec());
    let turned = (0..page.len()).flat_map(move |at| {
        (0..8).map(|bit| 1 << bit).chain([0xff, page[at]]).map(move |mask: u8| {
            let mut bytes = page.to_vec();
            bytes[at] ^= mask;
            bytes
        })
    });
    cut.chain(turned).map(Some).chain([None])
}

fn pages(content: &Content) -> impl Iterator<Item = (&String, &Vec<u8>)> {
    content.iter().filter(|(name, _)| NAMES.contains(&name.as_str()))
}

fn with(content: &Content, name: &str, page: Option<Vec<u8>>) -> Content {
    let mut content = content.clone();
    match page {
        Some(bytes) => content.insert(name.to_owned(), bytes),
        None => content.remove(name),
    };
    content
}

#[test]
fn what_is_given_up_is_forgotten_even_on_a_full_disk() {
    let disk = Disk::new(3, Content::new());
    let (mut ledger, _) = reopen(&disk);
    begin(&mut ledger, 1);
    ledger.commit().unwrap();
    begin(&mut ledger, 2);
    assert!(ledger.commit().is_err() && ledger.abandon().is_err());
    assert_eq!(ledger.state().pending, None);
    assert_eq!(ledger.state().committed, Some(entry(1)));
    let (again, alarms) = reopen(&disk);
    assert_eq!((again.state().committed.clone(), alarms), (Some(entry(1)), Vec::new()));
}

#[test]
fn any_damage_of_one_page_after_a_commit_leaves_the_newest_and_an_alarm() {
    for commits in 1..=3 {
        let content = committed(commits);
        for (name, page) in pages(&content) {
            for damaged in damages(page) {
                let what = damaged.as_deref().map(String::from_utf8_lossy).map(String::from);
                let (ledger, alarms, disk) = open(with(&content, name, damaged));
                assert_eq!(ledger.state().committed, Some(entry(commits)), "{name}: {what:?}");
                assert_eq!(alarms.len(), 1, "{name}: {what:?}: {alarms:?}");
                assert!(alarms[0].contains(name), "{alarms:?}");
                let (_, alarms, _) = open(disk.content());
                assert_eq!(alarms, Vec::<String>::new(), "not mended: {name}: {what:?}");
            }
        }
    }
}

#[test]
fn damage_of_one_page_while_a_change_is_under_way_leaves_the_last_good_one() {
    for commits in 1..=3 {
        let (mut ledger, _, disk) = open(committed(commits));
        begin(&mut ledger, commits + 1);
        let content = disk.content();
        for (name, page) in pages(&content) {
            for damaged in damages(page) {
                let (ledger, alarms, _) = open(with(&content, name, damaged));
                assert_eq!(ledger.state().committed, Some(entry(commits)));
                assert_eq!((alarms.len(), &ledger.state().pending), (1, &None), "{alarms:?}");
            }
        }
    }
}

#[test]
fn a_cut_between_the_two_writes_of_a_commit_is_made_good_at_the_next_start() {
    for commits in 0..=2 {
        let next = entry(commits + 1);
        let disk = Disk::new(2, committed(commits));
        let (mut ledger, _) = reopen(&disk);
        begin(&mut ledger, commits + 1);
        ledger.commit().unwrap();
        assert!(ledger.mirror().is_err(), "the disk has room for two writes");
        let (_, alarms, disk) = open(disk.content());
        assert_eq!(alarms, Vec::<String>::new());
        for name in NAMES {
            let (ledger, _, _) = open(with(&disk.content(), name, None));
            assert_eq!(ledger.state().committed, Some(next.clone()), "{name}");
        }
    }
}

#[test]
fn a_commit_on_a_full_disk_is_written_twice_once_there_is_room() {
    let disk = Disk::new(2, Content::new());
    let (mut ledger, _) = reopen(&disk);
    begin(&mut ledger, 1);
    ledger.commit().unwrap();
    assert!(ledger.mirror().is_err());
    disk.0.lock().unwrap().0 = 1;
    ledger.mirror().unwrap();
    ledger.mirror().unwrap();
    for name in NAMES {
        let (ledger, _, _) = open(with(&disk.content(), name, None));
        assert_eq!(ledger.state().committed, Some(entry(1)), "{name}");
    }
}

#[test]
fn both_pages_damaged_is_an_alarm_until_the_next_commit_never_empty_and_fine() {
    let content = committed(2);
    let [a, b] = NAMES;
    for (first, second) in
        [(Some(0), Some(0)), (Some(9), Some(40)), (None, Some(9)), (Some(9), None)]
    {
        let cut =
            |name, length: Option<usize>| length.map(|length| content[name][..length].to_vec());
        let damaged = with(&with(&content, a, cut(a, first)), b, cut(b, second));
        let (mut ledger, alarms, mut disk) = open(damaged);
        assert!(ledger.state().committed.is_none() && !alarms.is_empty(), "{alarms:?}");
        for number in 3..9 {
            begin(&mut ledger, number);
            let alarms;
            (ledger, alarms, disk) = open(disk.content());
            assert!(ledger.state().committed.is_none() && !alarms.is_empty(), "{alarms:?}");
        }
        begin(&mut ledger, 9);
        ledger.commit().unwrap();
        let (ledger, alarms, _) = open(disk.content());
        assert_eq!((&ledger.state().committed, alarms), (&Some(entry(9)), Vec::new()));
    }
}

#[test]
fn a_ledger_that_never_was_is_no_alarm() {
    let (ledger, alarms, disk) = open(Content::new());
    assert_eq!((ledger.state(), alarms), (&State::default(), Vec::new()));
    assert!(disk.content().is_empty());
}

#[test]
fn a_configuration_is_stored_once_and_goes_when_nothing_names_it() {
    let names = |content: &Content| -> Vec<Vec<u8>> {
        let configs = content.iter().filter(|(name, _)| name.starts_with("config-"));
        let mut values: Vec<_> = configs.map(|(_, bytes)| bytes.clone()).collect();
        values.sort();
        values
    };
    assert_eq!(names(&committed(1)), [bytes(1)]);
    // the last one, the one before it, and those by which connections are still to be judged
    assert_eq!(names(&committed(7)), [bytes(5), bytes(6), bytes(7)]);
    let (mut ledger, _, disk) = open(committed(3));
    for number in 4..9 {
        begin(&mut ledger, number);
        ledger.abandon().unwrap();
        // of those given up there is the last one only
        assert_eq!(names(&disk.content()), [bytes(2), bytes(3), bytes(number)]);
    }
    begin(&mut ledger, 9);
    commit(&mut ledger);
    assert_eq!(names(&disk.content()), [bytes(3), bytes(8), bytes(9)]);
    let left = ledger.state().unjudged.clone();
    assert_eq!(left, [entry(8).seen, entry(3).seen]);
    ledger.judged(&left).unwrap();
    begin(&mut ledger, 10);
    commit(&mut ledger);
    // as text, 10 comes before 9
    assert_eq!(names(&disk.content()), [bytes(10), bytes(9)]);
}

#[test]
fn what_connections_are_to_be_judged_by_is_known_until_they_were() {
    let (mut ledger, _, disk) = open(committed(1));
    assert_eq!(ledger.state().unjudged, []);
    begin(&mut ledger, 2);
    // under way when the process ended: it may have let connections in
    let (mut ledger, _) = reopen(&disk);
    assert_eq!(ledger.state().unjudged, [entry(2).seen]);
    ledger.judged(&[entry(2).seen]).unwrap();
    assert_eq!(reopen(&disk).0.state().unjudged, []);
    begin(&mut ledger, 3);
    ledger.commit().unwrap();
    let (mut ledger, _) = reopen(&disk);
    assert_eq!(ledger.state().unjudged, [entry(1).seen]);
    assert_eq!(ledger.content(entry(1).digest()), Ok(bytes(1)));
    ledger.judged(&[entry(1).seen]).unwrap();
    assert_eq!(reopen(&disk).0.state().unjudged, []);
}

#[test]
fn content_that_cannot_be_read_is_an_alarm_and_the_former_is_what_is_left() {
    let content = committed(3);
    let name = format!("config-{}.json", entry(3).digest().as_str());
    for damaged in damages(&bytes(3)).filter(|damaged| damaged.as_deref() != Some(&bytes(3)[..])) {
        let disk = Disk::new(99, with(&content, &name, damaged));
        for _ in 0..2 {
            let (ledger, alarms) = reopen(&disk);
            let state = ledger.state();
            assert_eq!((alarms.len(), state.lost), (1, true), "{alarms:?}");
            assert_eq!(state.unreadable, Some(entry(3).seen));
            assert_eq!(state.committed, Some(entry(2)));
        }
        let (mut ledger, _) = reopen(&disk);
        begin(&mut ledger, 4);
        ledger.abandon().unwrap();
        assert_eq!(reopen(&disk).0.state().unreadable, Some(entry(3).seen), "not forgotten");
        // the same again heals it
        begin(&mut ledger, 3);
        ledger.commit().unwrap();
        let (ledger, alarms) = reopen(&disk);
        assert_eq!((ledger.state().committed.clone(), alarms), (Some(entry(3)), Vec::new()));
    }
}

#[test]
fn a_build_that_does_not_understand_what_is_committed_says_so() {
    let disk = Disk::new(99, committed(3));
    let older = |bytes: &[u8]| match parse(bytes)? {
        3 => Err("unknown field `new`".to_owned()),
        number => Ok(number),
    };
    let opened = Ledger::open(Arc::clone(&disk) as Arc<dyn Files>, older);
    assert!(opened.alarms[0].contains("unknown field"), "{:?}", opened.alarms);
    let state = opened.ledger.state();
    assert_eq!((&state.committed, state.lost), (&Some(entry(2)), true));
    // and the build that does finds it again
    let (ledger, alarms) = reopen(&disk);
    assert_eq!((ledger.state().committed.clone(), alarms), (Some(entry(3)), Vec::new()));
}
