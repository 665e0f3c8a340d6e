//! One attempt at a source: a pass over it, fed by a download that is opened anew where it broke.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::failure::Failure;
use super::import::{End, Worker, stopped};
use super::record::{Record, State};
use super::report::Phase;
use crate::fetch::{Address, Download, FetchError, Validator};
use crate::image::Wanted;
use crate::pass::{self, Durable, Feed, PassError, Passed, Plan, Restart};
use crate::slice::{Source, SourceUrl, What};
use crate::store::Workspace;

/// Bytes handed to a pass at once.
const BLOCK: usize = 1 << 20;
/// Blocks that may wait for it.
const WAITING: usize = 4;

/// Why an attempt did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No other attempt is to be made.
    End(End),
    /// The store failed; it may take its time to come back.
    Store(Failure),
    /// The source failed; the server may have asked to wait.
    Again(Failure, Option<Duration>),
    /// What was fetched so far is of no use.
    FromStart(Failure),
}

/// How far the bytes in the part reach, as the pass tells it while it runs.
type Noted = Arc<Mutex<Record>>;

/// The attempt.
pub(super) struct Attempt<'a> {
    worker: &'a mut Worker,
    noted: Noted,
    download: Option<Download>,
}

impl<'a> Attempt<'a> {
    /// Makes one.
    pub(super) async fn run(worker: &'a mut Worker, source: &Source) -> Result<Passed, Trouble> {
        let workspace = worker.of_store(|store| store.workspace()).await.map_err(Trouble::End)?;
        take_up(worker, &workspace).await?;
        let State::Fetching { taken, restart, marks } = worker.record.state.clone() else {
            return Err(Trouble::End(End::Stopped));
        };
        let joined = taken > 0 && !marks.as_ref().is_some_and(Validator::tells);
        let settings = worker.shared.settings();
        let download = match source {
            Source::Url(url) => Some(Download::new(
                settings.fetcher,
                address(url)?,
                taken,
                marks,
                settings.limits.object_bytes,
                checksum(worker).is_some(),
            )),
            // what is in a blob was put in its place before
            Source::Upload | Source::SecretUrl(_) => None,
        };
        let plan = plan(worker, workspace, taken, restart);
        let noted = Arc::new(Mutex::new(worker.record.clone()));
        let mut attempt = Attempt { worker, noted, download };
        let result = attempt.passed(plan).await;
        let reached = attempt.noted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        attempt.worker.record = reached;
        match result {
            // bytes of two states of a source that does not tell them apart
            Err(Trouble::End(End::Failed(failure))) if joined && failure.code == "checksum" => {
                Err(Trouble::FromStart(failure))
            }
            other => other,
        }
    }

    async fn passed(&mut self, plan: Plan) -> Result<Passed, Trouble> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut checkpoint = self.checkpoint()?;
        let pass = tokio::task::spawn_blocking(move || pass::run(plan, receiver, &mut checkpoint));
        let fed = self.feed(sender).await;
        match pass.await {
            Ok(Ok(passed)) => Ok(passed),
            Ok(Err(PassError::Abandoned)) => Err(fed
                .err()
                .unwrap_or_else(|| Trouble::Again(Failure::from(&PassError::Abandoned), None))),
            Ok(Err(error @ PassError::Lost)) => Err(Trouble::FromStart(Failure::from(&error))),
            Ok(Err(error @ PassError::Disk { .. })) => Err(Trouble::Store(Failure::from(&error))),
            Ok(Err(error)) => Err(Trouble::End(End::Failed(Failure::from(&error)))),
            Err(error) => {
                let failure = Failure {
                    code: "internal".to_owned(),
                    reason: format!("the pass ended by itself: {error}"),
                    retry: false,
                };
                Err(Trouble::End(End::Failed(failure)))
            }
        }
    }

    /// What the pass calls now and then, on its own thread: the store must still be there and not be full, and what is
    /// durable goes into the journal.
    fn checkpoint(
        &self,
    ) -> Result<impl FnMut(Durable) -> Result<(), PassError> + Send + 'static, Trouble> {
        let shared = Arc::clone(&self.worker.shared);
        let store = self.worker.job.store().clone();
        let noted = Arc::clone(&self.noted);
        Ok(move |durable| {
            let entry = shared.stores.get(&store).and_then(|entry| entry.still_there());
            entry.map_err(|error| PassError::disk("a checkpoint")(std::io::Error::other(error)))?;
            let (reached, place) = match durable {
                Durable::Nothing => return Ok(()),
                Durable::Kept(length) => (length, None),
                Durable::Restart(restart) => (restart.source, Some(restart)),
            };
            let mut record = noted.lock().unwrap_or_else(PoisonError::into_inner);
            if let State::Fetching { taken, restart, .. } = &mut record.state {
                *taken = reached;
                *restart = place;
            }
            let kept = shared.journal.keep(&record);
            kept.map_err(|error| PassError::disk("a checkpoint")(std::io::Error::other(error)))
        })
    }

    async fn feed(&mut self, sender: mpsc::Sender<Feed>) -> Result<(), Trouble> {
        let mut waiting = BytesMut::with_capacity(BLOCK);
        while let Some(bytes) = self.next().await? {
            waiting = send(&sender, waiting, bytes).await?;
        }
        if !waiting.is_empty() {
            give(&sender, Feed::Bytes(waiting.freeze())).await?;
        }
        give(&sender, Feed::End).await
    }

    /// The next bytes, however often the connection breaks.
    async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        loop {
            let Some(download) = &mut self.download else { return Ok(None) };
            let next = tokio::select! {
                next = download.next() => next,
                () = stopped(&mut self.worker.stop) => return Err(Trouble::End(End::Stopped)),
            };
            match next {
                Ok(bytes) => {
                    self.progress(bytes.as_ref().map_or(0, Bytes::len));
                    return Ok(bytes);
                }
                Err(error) => self.broke(&error).await?,
            }
        }
    }

    fn progress(&mut self, length: usize) {
        let Some(download) = &self.download else { return };
        let view = &self.worker.view;
        if self.worker.pauses.failed() > 0 {
            view.attempts.store(0, Ordering::Relaxed);
        }
        self.worker.pauses.progress();
        if view.phase() != Phase::Fetching {
            view.set(Phase::Fetching);
        }
        view.fetched.fetch_add(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
        view.set_total(download.total());
        view.gauge.keep.store(download.resumable(), Ordering::Relaxed);
        let mut record = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Fetching { marks, .. } = &mut record.state
            && marks.is_none()
        {
            *marks = download.marks().cloned();
        }
    }

    /// Decides what a broken download means; returns when it is to be opened anew.
    async fn broke(&mut self, error: &FetchError) -> Result<(), Trouble> {
        let failure = Failure::from(error);
        if matches!(error, FetchError::Changed) {
            return Err(Trouble::FromStart(failure));
        }
        if !error.worth_a_retry() {
            return Err(Trouble::End(End::Failed(failure)));
        }
        if self.download.as_ref().is_some_and(Download::resumable) {
            return self.worker.rest(failure, error.retry_after()).await.map_err(Trouble::End);
        }
        Err(Trouble::Again(failure, error.retry_after()))
    }
}

/// The part must have what the journal says; a store that lost it is begun anew.
async fn take_up(worker: &mut Worker, workspace: &Workspace) -> Result<(), Trouble> {
    let (name, wanted) = match &worker.record.state {
        State::Fetching { restart: Some(restart), .. } => {
            (worker.record.unpacked_part(), restart.image)
        }
        State::Fetching { taken, .. } if *taken > 0 => (worker.record.source_part(), *taken),
        _ => return Ok(()),
    };
    let (path, disk) = (workspace.folder.join(name), Arc::clone(&workspace.disk));
    let length = tokio::task::spawn_blocking(move || disk.open(&path)?.length()).await;
    let found = length.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    match found {
        Ok(length) if length >= wanted => Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Trouble::Store(Failure::from(&PassError::disk("looking at the part")(error))))
        }
        _ => {
            tracing::warn!(job = %worker.job.id, "the part is lost, the job begins anew");
            worker.record.state = State::from_start();
            Ok(())
        }
    }
}

fn address(url: &SourceUrl) -> Result<Address, Trouble> {
    Address::try_from(url).map_err(|reason| {
        let code = "source-address".to_owned();
        Trouble::End(End::Failed(Failure { code, reason, retry: false }))
    })
}

fn checksum(worker: &Worker) -> Option<crate::checksum::Checksum> {
    match &worker.job.what {
        What::Import { checksum, .. } => checksum.clone(),
        What::Delete { .. } => None,
    }
}

fn plan(worker: &Worker, workspace: Workspace, taken: u64, restart: Option<Box<Restart>>) -> Plan {
    let limits = worker.shared.settings().limits;
    let format = match &worker.job.what {
        What::Import { format, .. } => *format,
        What::Delete { .. } => None,
    };
    Plan {
        workspace,
        source: worker.record.source_part(),
        unpacked: worker.record.unpacked_part(),
        taken: if restart.is_some() { 0 } else { taken },
        restart,
        wanted: Wanted { format, most_virtual: Some(limits.virtual_bytes) },
        checksum: checksum(worker),
        most: limits.object_bytes,
        unpack_bytes: limits.unpack_bytes,
        checkpoint_bytes: limits.checkpoint_bytes,
        gauge: Arc::clone(&worker.view.gauge),
    }
}

/// Hands `bytes` on in blocks: what is small is gathered first, so that a store is written in large pieces.
async fn send(
    sender: &mpsc::Sender<Feed>,
    mut waiting: BytesMut,
    mut bytes: Bytes,
) -> Result<BytesMut, Trouble> {
    while !bytes.is_empty() {
        if waiting.is_empty() && bytes.len() >= BLOCK {
            give(sender, Feed::Bytes(bytes.split_to(BLOCK))).await?;
            continue;
        }
        let take = (BLOCK - waiting.len()).min(bytes.len());
        waiting.extend_from_slice(&bytes.split_to(take));
        if waiting.len() == BLOCK {
            let full = std::mem::replace(&mut waiting, BytesMut::with_capacity(BLOCK));
            give(sender, Feed::Bytes(full.freeze())).await?;
        }
    }
    Ok(waiting)
}

/// A pass that takes no more has ended, and says itself why.
async fn give(sender: &mpsc::Sender<Feed>, feed: Feed) -> Result<(), Trouble> {
    let ended = |_| Trouble::Again(Failure::from(&PassError::Abandoned), None);
    sender.send(feed).await.map_err(ended)
}
