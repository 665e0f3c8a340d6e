//! The supervisor with services that are tasks of the test.

use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{Launch, Launched, Supervisor};
use crate::appliance::{ServiceName, ServiceSlice};
use crate::engine::{ServiceError, Services};
use crate::service::protocol::{self, Configure, FromService};

const NAME: ServiceName = ServiceName("echo");

/// Starts tasks that end at a slice "bad" and bring any other into force.
#[derive(Default)]
struct Tasks {
    started: AtomicUsize,
}

impl Launch for Tasks {
    fn launch(&self, _: ServiceName, control: UnixStream) -> io::Result<Launched> {
        self.started.fetch_add(1, Ordering::SeqCst);
        control.set_nonblocking(true)?;
        let task = tokio::spawn(serve(tokio::net::UnixStream::from_std(control)?));
        let exit =
            async move { task.await.map_err(io::Error::other)?.map(|()| ExitStatus::default()) };
        Ok(Launched { pid: 1, log: Box::new(tokio::io::empty()), exit: Box::pin(exit) })
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
        fn launch(&self, _: ServiceName, control: UnixStream) -> io::Result<Launched> {
            control.set_nonblocking(true)?;
            let control = tokio::net::UnixStream::from_std(control)?;
            let task = tokio::spawn(crate::service::serve(control, Talker(self.0)));
            let exit = async move {
                task.await.map_err(io::Error::other)?.map(|()| ExitStatus::default())
            };
            Ok(Launched { pid: 1, log: Box::new(tokio::io::empty()), exit: Box::pin(exit) })
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
