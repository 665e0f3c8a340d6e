//! One job at work, from wherever the journal says to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluice_api::types::ObjectId;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::attempt::{Attempt, Trouble};
use super::failure::{Failure, chain};
use super::pause::Pauses;
use super::record::{Record, State};
use super::report::{Phase, View};
use super::shared::Shared;
use super::upload::Upload;
use crate::fetch::Validator;
use crate::image::Format;
use crate::pass::Passed;
use crate::slice::{ImageLayout, Job, Source, What};
use crate::store::{Manifest, Origin, Store, StoreError};

/// Why a job ends before it is done.
#[derive(Debug)]
pub(super) enum End {
    /// It is no longer wanted.
    Stopped,
    /// It cannot be done.
    Failed(Failure),
}

/// A job and what it works with.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) job: Job,
    pub(super) record: Record,
    pub(super) view: Arc<View>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) pauses: Pauses,
    upload: Option<Arc<Upload>>,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        job: Job,
        record: Record,
        view: Arc<View>,
        stop: watch::Receiver<bool>,
        upload: Option<Arc<Upload>>,
    ) -> Self {
        let fetcher = shared.settings().fetcher;
        let first = Duration::from_millis(fetcher.policy().pause_milliseconds.into());
        let pauses = Pauses::new(first, fetcher.policy().attempts.into());
        Self { shared, job, record, view, stop, pauses, upload }
    }

    /// Works as soon as `old`, which had the same id, is gone.
    pub(super) async fn run_after(mut self, old: Option<JoinHandle<()>>) {
        if let Some(old) = old {
            let _ = old.await;
        }
        let job = self.job.id.clone();
        match self.work().await {
            Ok(manifest) => {
                tracing::info!(%job, "job done");
                self.end(State::Done { manifest: manifest.clone() }, Phase::Done(manifest)).await;
            }
            Err(End::Failed(failure)) => {
                tracing::warn!(%job, code = failure.code, reason = failure.reason, "job failed");
                self.end(State::Failed(failure.clone()), Phase::Failed(failure)).await;
            }
            Err(End::Stopped) => {
                tracing::info!(%job, "job no longer wanted");
                self.remove_parts().await;
            }
        }
        // told to stop before it said its end: whoever told it leaves the journal to it
        if *self.stop.borrow() {
            self.forget();
        }
    }

    fn forget(&self) {
        let job = &self.job.id;
        if let Err(error) = self.shared.journal.forget(job) {
            tracing::warn!(%job, reason = chain(&error), "job not forgotten");
        }
    }

    /// Tells only what is durable. Parts that stay because the store is away are removed when it is back.
    async fn end(&mut self, state: State, phase: Phase) {
        self.record.state = state;
        while let Err(failure) = self.keep() {
            if self.rest_for_ever(failure).await.is_err() {
                return;
            }
        }
        self.remove_parts().await;
        self.view.set(phase);
    }

    async fn work(&mut self) -> Result<Option<Box<Manifest>>, End> {
        match self.job.what.clone() {
            What::Delete { .. } => self.delete().await.map(|()| None),
            What::Import { source: Source::InPlace, .. } => self.adopt().await.map(Some),
            What::Import { source, .. } => self.import(&source).await.map(Some),
        }
    }

    async fn delete(&mut self) -> Result<(), End> {
        self.view.set(Phase::Deleting);
        let place = self.job.place().clone();
        self.of_store(move |store| store.delete(&place)).await
    }

    async fn import(&mut self, source: &Source) -> Result<Box<Manifest>, End> {
        if let State::Fetching { .. } = self.record.state {
            // of an upload the sender's pieces keep the record
            if self.upload.is_none() {
                self.keep().map_err(End::Failed)?;
            }
            if let Some(made) = self.made_before().await? {
                return Ok(made);
            }
            self.uploaded().await?;
            let turn = self.turn().await?;
            let passed = self.fetch(source).await?;
            drop(turn);
            let manifest = Box::new(self.manifest(&passed));
            self.record.state = State::Placing { part: passed.part, manifest };
            while let Err(failure) = self.keep() {
                self.rest_for_ever(failure).await?;
            }
        }
        let State::Placing { part, manifest } = self.record.state.clone() else {
            return Err(End::Stopped);
        };
        self.view.set(Phase::Placing);
        self.send(&part, &manifest).await?;
        let what = manifest.clone();
        self.of_store(move |store| store.publish(&part, &what)).await?;
        Ok(manifest)
    }

    /// Before gigabytes are fetched for nothing: the parent is there, and at the place nothing or what this very job made, of
    /// which the journal knows no more.
    async fn made_before(&mut self) -> Result<Option<Box<Manifest>>, End> {
        let (place, job) = (self.job.place().clone(), self.job.id.clone());
        let parent = self.parent().and_then(|parent| place.sibling(&parent));
        let from = self.from();
        self.of_store(move |store| match (store.find(&place), &parent) {
            (Ok(found), _) if found.origin.job == job && found.origin.from == from => {
                Ok(Some(Box::new(found)))
            }
            (Ok(_), _) => {
                Err(StoreError::Exists { store: store.id().clone(), place: place.clone() })
            }
            (Err(StoreError::NotFound { .. }), Some(parent)) => store.find(parent).map(|_| None),
            (Err(StoreError::NotFound { .. }), None) => store.vacant(&place).map(|()| None),
            (Err(other), _) => Err(other),
        })
        .await
    }

    /// Where the image comes from, as its record says it.
    fn from(&self) -> String {
        match &self.job.what {
            What::Delete { .. } => String::new(),
            What::Import { source, .. } => match source {
                Source::Url(url) => url.to_string(),
                Source::SecretUrl(digest) => digest.to_string(),
                Source::Upload => "upload".to_owned(),
                Source::Object { store, place } => format!("{store}:{place}"),
                Source::InPlace => "in place".to_owned(),
                Source::Peer(peer) => format!("{} of {}", peer.gift, peer.address),
            },
        }
    }

    /// The format that the job asks for, how it is to be laid out, and whether it is to have a parent.
    pub(super) fn asked(&self) -> (Option<Format>, Option<ImageLayout>, bool) {
        match &self.job.what {
            What::Import { format, layout, parent, .. } => (*format, *layout, parent.is_some()),
            What::Delete { .. } => (None, None, false),
        }
    }

    fn parent(&self) -> Option<ObjectId> {
        match &self.job.what {
            What::Import { parent, .. } => parent.clone(),
            What::Delete { .. } => None,
        }
    }

    /// Brings the finished part to where it will stand, however long the store is away.
    async fn send(&mut self, part: &str, manifest: &Manifest) -> Result<(), End> {
        let (view, stop) = (Arc::clone(&self.view), self.stop.clone());
        let (part, manifest) = (part.to_owned(), manifest.clone());
        self.at_length("sending an object", Phase::Placing, move |store| {
            store.send(&part, &manifest, &|sent| {
                view.sent.store(sent, Ordering::Relaxed);
                !*stop.borrow()
            })
        })
        .await
    }

    /// Takes over what stands at its place already.
    async fn adopt(&mut self) -> Result<Box<Manifest>, End> {
        let turn = self.turn().await?;
        let settings = self.shared.settings();
        let terms = super::attempt::terms(&self.job, &settings.limits);
        let (view, stop) = (Arc::clone(&self.view), self.stop.clone());
        let (place, job) = (self.job.place().clone(), self.job.id.clone());
        let adopted = self.at_length("reading an object", Phase::Fetching, move |store| {
            store.adopt(&place, &job, &terms, &|read| {
                view.gauge.taken.store(read, Ordering::Relaxed);
                !*stop.borrow()
            })
        });
        let manifest = adopted.await?;
        drop(turn);
        Ok(Box::new(manifest))
    }

    /// Has the store do what takes as long as an image's bytes take, however long it is away.
    async fn at_length<T: Send + 'static>(
        &mut self,
        what: &'static str,
        phase: Phase,
        work: impl Fn(&dyn Store) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, End> {
        loop {
            self.view.set(phase.clone());
            let outcome = match self.shared.stores.get(self.job.store()) {
                Ok(entry) => entry.work(what, work.clone()).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(done) => return Ok(done),
                Err(error) if error.worth_a_retry() => {
                    self.rest_for_ever(Failure::from(&error)).await?;
                }
                Err(error) => return Err(End::Failed(Failure::from(&error))),
            }
        }
    }

    /// Waits for the last byte of an upload; at once when there is none.
    async fn uploaded(&mut self) -> Result<(), End> {
        let Some(upload) = self.upload.clone() else { return Ok(()) };
        self.view.set(Phase::Uploading);
        let taken = tokio::select! {
            taken = upload.complete() => taken.map_err(End::Failed)?,
            () = stopped(&mut self.stop) => return Err(End::Stopped),
        };
        let marks = Validator { total: Some(taken), ..Validator::default() };
        self.record.state = State::Fetching { taken, restart: None, marks: Some(marks) };
        self.view.set(Phase::Waiting);
        Ok(())
    }

    async fn turn(&mut self) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, End> {
        tokio::select! {
            turn = self.shared.turn() => Ok(turn),
            () = stopped(&mut self.stop) => Err(End::Stopped),
        }
    }

    /// Tries until the image is complete in its part.
    async fn fetch(&mut self, source: &Source) -> Result<Passed, End> {
        loop {
            self.view.set(Phase::Fetching);
            let (failure, asked) = match Attempt::run(self, source).await {
                Ok(passed) => return Ok(passed),
                Err(Trouble::End(end)) => return Err(end),
                Err(Trouble::Store(failure)) => {
                    self.rest_for_ever(failure).await?;
                    continue;
                }
                Err(Trouble::Again(failure, asked)) => (failure, asked),
                Err(Trouble::FromStart(failure)) => {
                    tracing::warn!(job = %self.job.id, reason = failure.reason, "job begins anew");
                    self.record.state = State::from_start();
                    self.keep().map_err(End::Failed)?;
                    (failure, None)
                }
            };
            self.rest(failure, asked).await?;
        }
    }

    fn manifest(&self, passed: &Passed) -> Manifest {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Manifest {
            place: self.job.place().clone(),
            image: passed.image.clone(),
            size: passed.size,
            sha256: passed.sha256.clone(),
            sha512: passed.sha512.clone(),
            origin: Origin {
                job: self.job.id.clone(),
                from: self.from(),
                size: passed.source_size,
                digest: passed.source_digest.clone(),
                compression: passed.compression,
            },
            made: now.as_secs(),
            parent: self.parent(),
        }
    }

    /// Has the store do it, however long the store is away.
    pub(super) async fn of_store<T: Send + 'static>(
        &mut self,
        ask: impl Fn(&dyn Store) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, End> {
        loop {
            let asked = match self.shared.stores.get(self.job.store()) {
                Ok(entry) => entry.ask(ask.clone()).await,
                Err(error) => Err(error),
            };
            match asked {
                Ok(answer) => return Ok(answer),
                Err(error) if error.worth_a_retry() => {
                    self.rest_for_ever(Failure::from(&error)).await?;
                }
                Err(error) => return Err(End::Failed(Failure::from(&error))),
            }
        }
    }

    pub(super) fn keep(&self) -> Result<(), Failure> {
        self.shared.journal.keep(&self.record).map_err(|error| Failure {
            code: "journal".to_owned(),
            reason: chain(&error),
            retry: true,
        })
    }

    async fn remove_parts(&self) {
        let Ok(entry) = self.shared.stores.get(self.job.store()) else { return };
        let record = self.record.clone();
        let others = move |name: &str| !record.has(name);
        let _ = entry.ask(move |store| store.remove_parts(&others)).await;
    }

    /// Pauses before another attempt at a source; ends the job when there were too many.
    pub(super) async fn rest(
        &mut self,
        failure: Failure,
        asked: Option<Duration>,
    ) -> Result<(), End> {
        match self.pauses.next(asked, rand::random()) {
            Some(pause) => self.sleep(failure, pause).await,
            None => Err(End::Failed(failure)),
        }
    }

    /// Pauses before another attempt at a store: it comes back or the job is taken away.
    async fn rest_for_ever(&mut self, failure: Failure) -> Result<(), End> {
        const LONGEST: Duration = Duration::from_secs(15);
        let pause = self.pauses.next(None, rand::random()).unwrap_or(LONGEST).min(LONGEST);
        self.sleep(failure, pause).await
    }

    async fn sleep(&mut self, failure: Failure, pause: Duration) -> Result<(), End> {
        let attempts = self.pauses.failed();
        self.view.attempts.store(attempts, Ordering::Relaxed);
        tracing::warn!(job = %self.job.id, code = failure.code, reason = failure.reason, attempts, ?pause,
            "job will try again");
        self.view.set(Phase::Retrying(failure));
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = stopped(&mut self.stop) => Err(End::Stopped),
        }
    }
}

/// Resolves when the job is no longer wanted; when nobody is left who could say so it goes on.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
