//! The supervisor with services that are tasks of the test.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{Launch, Launched, Supervisor};
use crate::appliance::{ServiceName, ServiceSlice};
use crate::engine::{ServiceError, Services};
use crate::service::protocol::{self, Configure, FromService};

mod questions;

const NAME: ServiceName = ServiceName("echo");

/// A task of `serve` in place of a process.
fn as_task<F>(greets: bool, serve: impl FnOnce(tokio::net::UnixStream) -> F) -> io::Result<Launched>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let (control, theirs) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    let task = tokio::spawn(serve(tokio::net::UnixStream::from_std(theirs)?));
    let exit = Launched::exit(async move { format!("{:?}", task.await) });
    let (log, kill) = (Box::new(tokio::io::empty()), Box::new(|| {}));
    Ok(Launched { pid: 1, control, greets, log, kill, exit })
}

/// Starts tasks that end at a slice "bad" and bring any other into force.
#[derive(Default)]
struct Tasks {
    started: AtomicUsize,
}

impl Launch for Tasks {
    fn launch(&self, _: ServiceName) -> io::Result<Launched> {
        self.started.fetch_add(1, Ordering::SeqCst);
        as_task(false, serve)
    }
}

#[tokio::test]
async fn what_a_service_reports_is_in_its_status_and_too_much_is_left_out() {
    struct Talker(usize);
    impl crate::service::Service for Talker {
        type Slice = String;
        async fn apply(
            &mut self,
            _: sluice_api::types::Generation,
            _: String,
        ) -> Result<(), String> {
            Ok(())
        }
        fn counters(&self) -> std::collections::BTreeMap<String, u64> {
            [("heard".to_owned(), 1)].into()
        }
        fn report(&self) -> serde_json::Value {
            serde_json::json!({ "members": "m".repeat(self.0) })
        }
    }
    struct Talkers(usize);
    impl Launch for Talkers {
        fn launch(&self, _: ServiceName) -> io::Result<Launched> {
            let length = self.0;
            as_task(false, move |control| crate::service::serve(control, Talker(length)))
        }
    }
    for (length, expected) in [(100_000, "members"), (protocol::MAX_LINE, "left-out")] {
        let supervisor = Supervisor::new(Arc::new(Talkers(length)));
        give(&supervisor, 1, "good").await.unwrap();
        let status = loop {
            let status = supervisor.status().remove(0);
            if status.report.is_some() {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert!(status.report.unwrap().get(expected).is_some(), "{length}");
        assert_eq!((status.counters["heard"], status.restarts), (1, 0));
    }
}

async fn serve(control: tokio::net::UnixStream) -> io::Result<()> {
    let (reader, mut writer) = control.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let Configure { generation, slice } = serde_json::from_str(&line)?;
        if slice.is_some_and(|slice| slice.get() == "\"bad\"") {
            return Ok(());
        }
        writer.write_all(&protocol::line(&FromService::InForce { generation })?).await?;
    }
    Ok(())
}

async fn give(supervisor: &Supervisor, number: u64, slice: &str) -> Result<(), ServiceError> {
    supervisor.configure(NAME, number.try_into().unwrap(), ServiceSlice::of(&slice)).await
}

/// Gives the slice that ends the service, until it waits for seconds between two starts.
async fn crash_loop(supervisor: &Arc<Supervisor>, tasks: &Tasks) {
    let crashing = Arc::clone(supervisor);
    let asked = tokio::spawn(async move { give(&crashing, 1, "bad").await });
    for _ in 0..1000 {
        // the sixth wait is of 3.2 s
        if tasks.started.load(Ordering::SeqCst) >= 6 {
            asked.abort();
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("started {} times only", tasks.started.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_slice_that_mends_a_service_does_not_wait_for_its_next_start() {
    let tasks = Arc::new(Tasks::default());
    let launch: Arc<dyn Launch> = tasks.clone();
    let supervisor = Arc::new(Supervisor::new(launch));
    crash_loop(&supervisor, &tasks).await;
    let before = tasks.started.load(Ordering::SeqCst);
    give(&supervisor, 2, "good").await.unwrap();
    // neither the wait nor the bad slice came before it
    assert_eq!(tasks.started.load(Ordering::SeqCst), before + 1);
    assert_eq!(supervisor.status()[0].generation, Some(2.try_into().unwrap()));
    supervisor.stop(NAME).await;
    assert!(supervisor.status().is_empty());
}

/// A process that former agents left: it knows what it was given, and lives on without an agent.
struct Left {
    path: std::path::PathBuf,
    started: AtomicUsize,
    /// What of it was applied.
    applied: Arc<Mutex<Vec<String>>>,
}

struct Recorder(Arc<Mutex<Vec<String>>>);

impl crate::service::Service for Recorder {
    type Slice = String;
    async fn apply(
        &mut self,
        _: sluice_api::types::Generation,
        slice: String,
    ) -> Result<(), String> {
        if slice == "bad" {
            return Err("told so".to_owned());
        }
        self.0.lock().unwrap().push(slice);
        Ok(())
    }
    fn counters(&self) -> std::collections::BTreeMap<String, u64> {
        std::collections::BTreeMap::new()
    }
}

impl Left {
    fn connected(&self) -> io::Result<Launched> {
        left_at(&self.path)
    }
}

/// The way to a process that was left at `path`.
fn left_at(path: &std::path::Path) -> io::Result<Launched> {
    let control = UnixStream::connect(path)?;
    let exit = Launched::exit(std::future::pending());
    let (log, kill) = (Box::new(tokio::io::empty()), Box::new(|| {}));
    Ok(Launched { pid: 1, control, greets: true, log, kill, exit })
}

#[async_trait::async_trait]
impl Launch for Left {
    fn launch(&self, _: ServiceName) -> io::Result<Launched> {
        self.started.fetch_add(1, Ordering::SeqCst);
        let agents = tokio::net::UnixListener::bind(&self.path)?;
        tokio::spawn(crate::service::outlive(agents, None, Recorder(Arc::clone(&self.applied))));
        self.connected()
    }

    async fn take_over(&self, _: ServiceName) -> Option<Launched> {
        self.connected().ok()
    }
}

#[tokio::test]
async fn an_agent_that_comes_back_sends_only_what_is_not_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let left = Arc::new(Left {
        path: folder.path().join("socket"),
        started: AtomicUsize::new(0),
        applied: Arc::default(),
    });
    let agent = || Supervisor::new(Arc::clone(&left) as Arc<dyn Launch>);
    let applied = || left.applied.lock().unwrap().clone();
    give(&agent(), 1, "one").await.unwrap();
    // the agent is gone, and the next one wants the same, and then something else
    let second = agent();
    give(&second, 1, "one").await.unwrap();
    assert_eq!(applied(), ["one"]);
    give(&second, 2, "two").await.unwrap();
    give(&second, 3, "two").await.unwrap();
    assert!(give(&second, 4, "bad").await.is_err());
    drop(second);
    assert_eq!(applied(), ["one", "two"]);
    // in the middle of a word, and of an answer
    for said in
        [&b"{\"generation\":9,\"sli"[..], b"{\"generation\":9,\"slice\":\"nine\"}\n", b"nonsense\n"]
    {
        let mut dying = tokio::net::UnixStream::connect(&left.path).await.unwrap();
        dying.write_all(said).await.unwrap();
    }
    // what the dead agent had sent was not what the ledger says
    let third = agent();
    give(&third, 3, "two").await.unwrap();
    assert_eq!(applied(), ["one", "two", "nine", "two"]);
    assert_eq!(left.started.load(Ordering::SeqCst), 1);
    let status = third.status().remove(0);
    assert_eq!((status.restarts, status.generation), (0, Some(3.try_into().unwrap())));
}

/// Brings each slice into force after `.0`, and may take `.1`.
#[derive(Clone, Copy)]
struct Slow(Duration, Duration);

impl crate::service::Service for Slow {
    type Slice = String;
    async fn apply(&mut self, _: sluice_api::types::Generation, _: String) -> Result<(), String> {
        tokio::time::sleep(self.0).await;
        Ok(())
    }
    fn counters(&self) -> std::collections::BTreeMap<String, u64> {
        std::collections::BTreeMap::new()
    }
}

impl Launch for Slow {
    fn launch(&self, _: ServiceName) -> io::Result<Launched> {
        let service = *self;
        as_task(false, move |control| crate::service::serve(control, service))
    }

    fn patience(&self, _: ServiceName) -> Duration {
        self.1
    }
}

/// A daemon that tests its ciphers first takes more than others, which are not waited for so long.
#[tokio::test(start_paused = true)]
async fn a_service_has_the_time_that_its_specification_gives_it() {
    let takes = Duration::from_secs(35);
    let patient = Supervisor::new(Arc::new(Slow(takes, Duration::from_secs(40))));
    give(&patient, 1, "one").await.unwrap();
    // it said nothing meanwhile, and was not taken for one that hangs
    assert_eq!(patient.status()[0].restarts, 0);
    let other = Supervisor::new(Arc::new(Slow(takes, crate::service::PATIENCE)));
    let late = give(&other, 1, "one").await.unwrap_err();
    assert!(matches!(late, ServiceError::Silent { .. }), "{late}");
}

/// All clocks jump and nobody ran meanwhile, as when a machine is paused and goes on, or is moved to another host.
#[tokio::test(start_paused = true)]
async fn a_machine_that_stood_still_goes_on_with_its_services() {
    let folder = tempfile::tempdir().unwrap();
    let left = Arc::new(Left {
        path: folder.path().join("socket"),
        started: AtomicUsize::new(0),
        applied: Arc::default(),
    });
    let supervisor = Supervisor::new(Arc::clone(&left) as Arc<dyn Launch>);
    give(&supervisor, 1, "one").await.unwrap();
    // just beyond the silence that is allowed, a minute, a day
    for still in [21, 60, 86_400] {
        tokio::time::sleep(Duration::from_secs(3)).await;
        tokio::time::advance(Duration::from_secs(still)).await;
        // longer than anybody who was silent would be left alone
        tokio::time::sleep(Duration::from_mins(1)).await;
        let status = supervisor.status().remove(0);
        assert_eq!((status.restarts, status.last_exit), (0, None), "after {still} s");
    }
    assert_eq!(left.started.load(Ordering::SeqCst), 1);
    give(&supervisor, 2, "two").await.unwrap();
}

/// Starts tasks that serve until they are ended, and notes when each was started.
#[derive(Default)]
struct Mortals {
    started: Mutex<Vec<tokio::time::Instant>>,
    end: Arc<tokio::sync::Notify>,
    /// What was brought into force.
    applied: Arc<Mutex<Vec<String>>>,
}

impl Launch for Mortals {
    fn launch(&self, _: ServiceName) -> io::Result<Launched> {
        self.started.lock().unwrap().push(tokio::time::Instant::now());
        let (end, applied) = (Arc::clone(&self.end), Arc::clone(&self.applied));
        as_task(false, move |control| async move {
            tokio::select! {
                served = crate::service::serve(control, Recorder(applied)) => served,
                () = end.notified() => Ok(()),
            }
        })
    }
}

impl Mortals {
    /// Ends the task that runs; how long it takes until the next one has the slice in force.
    async fn end(&self, supervisor: &Supervisor) -> Duration {
        let before = (self.started.lock().unwrap().len(), self.applied.lock().unwrap().len());
        let ended = tokio::time::Instant::now();
        self.end.notify_one();
        while self.applied.lock().unwrap().len() == before.1
            || supervisor.status()[0].generation.is_none()
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.started.lock().unwrap().len(), before.0 + 1);
        ended.elapsed()
    }
}

/// What a service loses when it is killed is the wait and its own start. The clock is virtual: however slow the machine is,
/// this is what the supervisor waits.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_killed_is_back_within_a_second_with_its_slice() {
    let mortals = Arc::new(Mortals::default());
    let supervisor = Supervisor::new(Arc::clone(&mortals) as Arc<dyn Launch>);
    give(&supervisor, 1, "one").await.unwrap();
    let first = mortals.end(&supervisor).await;
    assert!(first < Duration::from_millis(200), "{first:?}");
    // one that ends again at once is waited for longer, and still a second does for the third time
    for _ in 0..2 {
        let again = mortals.end(&supervisor).await;
        assert!(again > first && again < Duration::from_secs(1), "{again:?}");
    }
    // one that ran for a while is trusted again
    tokio::time::sleep(Duration::from_secs(31)).await;
    let later = mortals.end(&supervisor).await;
    assert!(later < Duration::from_millis(200), "{later:?}");
    assert_eq!(*mortals.applied.lock().unwrap(), ["one"; 5]);
    assert_eq!(supervisor.status()[0].restarts, 4);
}

/// Starts tasks that say what their slice came to, and end with that word.
struct Dying(fn(sluice_api::types::Generation) -> FromService);

impl Launch for Dying {
    fn launch(&self, _: ServiceName) -> io::Result<Launched> {
        let word = self.0;
        as_task(false, move |control| async move {
            let (reader, mut writer) = control.into_split();
            let line = BufReader::new(reader).lines().next_line().await?.unwrap_or_default();
            let Configure { generation, .. } = serde_json::from_str(&line)?;
            writer.write_all(&protocol::line(&word(generation))?).await
        })
    }
}

#[tokio::test]
async fn the_last_word_of_a_service_that_ends_is_heard() {
    let refuses = |generation| FromService::Refused { generation, reason: "told so".to_owned() };
    for _ in 0..200 {
        let supervisor = Supervisor::new(Arc::new(Dying(refuses)));
        let refused = give(&supervisor, 1, "one").await.unwrap_err().to_string();
        assert!(refused.contains("told so"), "{refused}");
        let supervisor =
            Supervisor::new(Arc::new(Dying(|generation| FromService::InForce { generation })));
        give(&supervisor, 1, "one").await.unwrap();
    }
}

#[tokio::test]
async fn what_an_agent_sent_before_it_went_away_is_applied_to_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let applied: Arc<Mutex<Vec<String>>> = Arc::default();
    let agents = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(crate::service::outlive(agents, None, Recorder(Arc::clone(&applied))));
    for round in 0..50 {
        let mut dying = tokio::net::UnixStream::connect(&path).await.unwrap();
        let said =
            ["nine", "ten"].map(|slice| format!("{{\"generation\":9,\"slice\":\"{slice}\"}}\n"));
        dying.write_all(said.concat().as_bytes()).await.unwrap();
        drop(dying);
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        while applied.lock().unwrap().len() < 2 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(std::mem::take(&mut *applied.lock().unwrap()), ["nine", "ten"], "{round}");
    }
}
