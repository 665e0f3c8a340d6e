//! One attempt at a source: a pass over it, fed by a download that is opened anew where it broke.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sluice_api::types::ImageFormat;
use tokio::sync::mpsc;

use super::failure::Failure;
use super::import::{End, Worker, stopped};
use super::reading::Reading;
use super::record::{Record, State};
use super::report::Phase;
use crate::checksum::Checksum;
use crate::fetch::{Address, Download, FetchError, Validator, peer_address};
use crate::image::Wanted;
use crate::pass::{self, Durable, Feed, PassError, Passed, Plan, Restart, Terms};
use crate::slice::{FetchPolicy, Job, Limits, Source, SourceUrl, What};
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
    inflow: Inflow,
}

/// Where the bytes come from.
enum Inflow {
    /// They are all in the part.
    Nowhere,
    Download(Box<Download>),
    Object(Reading),
}

impl<'a> Attempt<'a> {
    /// Makes one.
    pub(super) async fn run(worker: &'a mut Worker, source: &Source) -> Result<Passed, Trouble> {
        let workspace = worker.of_store(|store| store.workspace()).await.map_err(Trouble::End)?;
        take_up(worker, &workspace).await?;
        let State::Fetching { taken, restart, marks } = worker.record.state.clone() else {
            return Err(Trouble::End(End::Stopped));
        };
        tracing::info!(job = %worker.job.id, taken, "job goes on at this byte");
        let joined = taken > 0 && !marks.as_ref().is_some_and(Validator::tells);
        let (inflow, checksum) = inflow(worker, source, taken, marks).await?;
        let plan = Plan { checksum, ..plan(worker, workspace, taken, restart) };
        let noted = Arc::new(Mutex::new(worker.record.clone()));
        let mut attempt = Attempt { worker, noted, inflow };
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
            let stopped = stopped(&mut self.worker.stop);
            let next = match &mut self.inflow {
                Inflow::Nowhere => return Ok(None),
                Inflow::Download(download) => tokio::select! {
                    next = download.next() => next,
                    () = stopped => return Err(Trouble::End(End::Stopped)),
                },
                Inflow::Object(reading) => {
                    let bytes = tokio::select! {
                        bytes = reading.next() => bytes?,
                        () = stopped => return Err(Trouble::End(End::Stopped)),
                    };
                    self.progress(bytes.as_ref().map_or(0, Bytes::len));
                    return Ok(bytes);
                }
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
        let (total, resumable, now) = match &self.inflow {
            Inflow::Nowhere => return,
            Inflow::Download(download) => {
                (download.total(), download.resumable(), download.marks().cloned())
            }
            // its record has the digest that all of it is compared with
            Inflow::Object(reading) => (Some(reading.size()), true, Some(reading.marks())),
        };
        let view = &self.worker.view;
        if self.worker.pauses.failed() > 0 {
            view.attempts.store(0, Ordering::Relaxed);
        }
        self.worker.pauses.progress();
        if view.phase() != Phase::Fetching {
            view.set(Phase::Fetching);
        }
        view.fetched.fetch_add(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
        view.set_total(total);
        view.gauge.keep.store(resumable, Ordering::Relaxed);
        let mut record = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Fetching { marks, .. } = &mut record.state
            && marks.is_none()
        {
            *marks = now;
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
        if matches!(&self.inflow, Inflow::Download(download) if download.resumable()) {
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

/// What an import says of itself: its checksum and the most bytes of it.
fn said(job: &Job) -> (Option<Checksum>, Option<u64>) {
    match &job.what {
        What::Import { checksum, most_bytes, .. } => (checksum.clone(), *most_bytes),
        What::Delete { .. } => (None, None),
    }
}

/// What the image of a job has to be.
pub(super) fn wanted(job: &Job, limits: &Limits) -> Wanted {
    let (format, parent) = match &job.what {
        What::Import { format, parent, place, .. } => {
            let parent = parent.as_ref().and_then(|parent| place.sibling(parent));
            (*format, parent.map(|parent| parent.file(ImageFormat::Qcow2)))
        }
        What::Delete { .. } => (None, None),
    };
    Wanted { format, most_virtual: Some(limits.virtual_bytes), parent }
}

/// What a file that stands at its place already has to be.
pub(super) fn terms(job: &Job, limits: &Limits) -> Terms {
    let (checksum, most) = said(job);
    let most = limits.object_bytes.min(most.unwrap_or(u64::MAX));
    Terms { wanted: wanted(job, limits), checksum, most }
}

/// Where the bytes come from, and what all of them must hash to.
async fn inflow(
    worker: &mut Worker,
    source: &Source,
    taken: u64,
    marks: Option<Validator>,
) -> Result<(Inflow, Option<Checksum>), Trouble> {
    let (checksum, _) = said(&worker.job);
    match source {
        Source::Url(url) => {
            let settings = worker.shared.settings();
            let (fetcher, most) = (settings.fetcher, settings.limits.object_bytes);
            let trusting = checksum.is_some();
            let download = Download::new(fetcher, address(url)?, taken, marks, most, trusting);
            Ok((Inflow::Download(Box::new(download)), checksum))
        }
        Source::Object { store, place } => {
            let reading = Reading::open(worker, store, place, taken).await?;
            if marks.is_some_and(|marks| marks != reading.marks()) {
                let code = "changed".to_owned();
                let reason = format!("{place} on store {store} is another object now");
                return Err(Trouble::FromStart(Failure { code, reason, retry: true }));
            }
            let checksum = checksum.or_else(|| reading.sha256());
            Ok((Inflow::Object(reading), checksum))
        }
        Source::Peer(peer) => {
            let settings = worker.shared.settings();
            let refused = |reason| {
                let code = "peer-identity".to_owned();
                Trouble::End(End::Failed(Failure { code, reason, retry: false }))
            };
            let fetcher = settings.of_peer(peer).map_err(refused)?;
            let url = peer_address(peer).map_err(refused)?;
            let most = settings.limits.object_bytes;
            // the checksum that it must have is its record's
            let download = Download::new(fetcher, url, taken, marks, most, true);
            Ok((Inflow::Download(Box::new(download)), checksum))
        }
        // what is in a blob was put in its place before; what is in place is not fetched
        Source::Upload | Source::SecretUrl(_) | Source::InPlace => Ok((Inflow::Nowhere, checksum)),
    }
}

/// Bytes that may have gone through and not be durable, so that with all that is fetched ahead of them no more than
/// `checkpoint_bytes` are fetched again; but a quarter of those however much is fetched ahead, so that it does not all go into
/// checkpoints.
fn behind(limits: &Limits, fetch: &FetchPolicy) -> u64 {
    // blocks that wait, the one that is gathered, and two by which a place in a zstd source may be late; ranges side by side
    let blocks = (WAITING as u64 + 3) * BLOCK as u64;
    let ahead = blocks.saturating_add(fetch.range_bytes.saturating_mul(fetch.streams.into()));
    let bytes = limits.checkpoint_bytes;
    let half = (bytes.saturating_sub(ahead) / 2).max(bytes / 8);
    // a checkpoint is made behind a whole block
    2 * (half - half % BLOCK as u64)
}

fn plan(worker: &Worker, workspace: Workspace, taken: u64, restart: Option<Box<Restart>>) -> Plan {
    let settings = worker.shared.settings();
    let limits = &settings.limits;
    let (checksum, most) = said(&worker.job);
    Plan {
        workspace,
        source: worker.record.source_part(),
        unpacked: worker.record.unpacked_part(),
        taken: if restart.is_some() { 0 } else { taken },
        restart,
        wanted: wanted(&worker.job, limits),
        checksum,
        most: limits.object_bytes.min(most.unwrap_or(u64::MAX)),
        unpack_bytes: limits.unpack_bytes,
        checkpoint_bytes: behind(limits, settings.fetcher.policy()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_again_is_within_the_bound() {
        let fetch = FetchPolicy::default();
        let usual = Limits::default();
        let ahead = 7 * BLOCK as u64 + u64::from(fetch.streams) * fetch.range_bytes;
        let kept = behind(&usual, &fetch);
        assert!(kept >= 16 << 20, "a checkpoint for every {kept} bytes");
        assert!(kept + ahead <= usual.checkpoint_bytes);
        let many = FetchPolicy { streams: 64, ..fetch.clone() };
        assert_eq!(behind(&usual, &many), 14 << 20, "a quarter");
        let small = Limits { checkpoint_bytes: 1 << 18, ..usual };
        assert_eq!(behind(&small, &fetch), 0, "behind each block");
    }
}
