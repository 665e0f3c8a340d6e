//! An upload in pieces, kept durable piece by piece, into the part of the job that waits for it.
//!
//! Guarantees: a piece is in whole and durable, or, when its digest is wrong, not at all; a piece without a digest that was
//! cut off is kept as far as it came; two senders never mix; the first bytes are inspected as soon as they are there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sluice_api::types::ObjectId;
use thiserror::Error;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::timeout;

use super::failure::{Failure, chain};
use super::record::{Record, State};
use super::report::View;
use super::shared::Shared;
use crate::checksum::{HashFunction, Hasher};
use crate::fetch::Validator;
use crate::image::{self, Judgement, Wanted};
use crate::pass::{Output, Partial, PassError};
use crate::slice::Job;
use crate::store::StoreError;
use crate::unpack;

/// Bytes whose beginning is inspected after each piece.
const LOOK: u64 = 4 << 20;

/// A sender that sends nothing for so long is gone.
const SILENCE: Duration = Duration::from_mins(1);
/// How long one that is superseded has to bring what it has to the disk.
const MAKE_ROOM: Duration = Duration::from_secs(10);

/// An upload that a job waits for.
pub struct Upload {
    shared: Arc<Shared>,
    store: ObjectId,
    wanted: Wanted,
    state: Mutex<Record>,
    view: Arc<View>,
    stage: watch::Sender<Stage>,
    /// Changes whenever a sender shows itself: one whose connection is dead then makes room.
    latest: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
enum Stage {
    Open,
    Complete(u64),
    Refused(Failure),
}

/// Why a piece was not taken.
#[derive(Debug, Error)]
pub enum UploadError {
    /// Another piece is being sent.
    #[error("another piece of it is being sent")]
    Busy,
    /// The length was not said yet, or was said otherwise before.
    #[error("the upload's length is {length:?}, not {asked:?}")]
    Length {
        /// As known, in bytes.
        length: Option<u64>,
        /// As now said.
        asked: Option<u64>,
    },
    /// The piece does not follow what is there.
    #[error("the next piece begins at {offset}")]
    Offset {
        /// Where it must begin.
        offset: u64,
    },
    /// It is larger than allowed, alone or with those before.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Its digest is another one; nothing of it was kept.
    #[error("the piece's digest is wrong, send it again")]
    Digest,
    /// The sender went away.
    #[error("the piece was cut off")]
    CutOff,
    /// What was sent is no image that is let in.
    #[error("refused: {}", .0.reason)]
    Refused(Failure),
    /// The upload has ended.
    #[error("the upload has ended")]
    Over,
    /// The store did not take it.
    #[error("{}", .0.reason)]
    Store(Failure),
}

/// Where an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Bytes durable.
    pub offset: u64,
    /// Bytes in all, once said.
    pub length: Option<u64>,
}

/// How one piece is to be taken.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where it begins.
    pub offset: u64,
    /// What it must hash to.
    pub digest: Option<(HashFunction, Vec<u8>)>,
    /// Most bytes that the sender may send in all.
    pub quota: u64,
}

impl Upload {
    pub(super) fn new(shared: Arc<Shared>, job: &Job, record: &Record, view: Arc<View>) -> Self {
        let wanted = super::attempt::wanted(job, &shared.settings().limits);
        let state = position(record);
        view.set_total(state.length);
        let stage = match state.length {
            Some(length) if length == state.offset => Stage::Complete(length),
            _ => Stage::Open,
        };
        Self {
            shared,
            store: job.store().clone(),
            wanted,
            state: Mutex::new(record.clone()),
            view,
            stage: watch::Sender::new(stage),
            latest: watch::Sender::new(0),
        }
    }

    /// Resolves with the length when the last byte is durable.
    ///
    /// Errors: what was sent was refused.
    pub(super) async fn complete(&self) -> Result<u64, Failure> {
        let mut stage = self.stage.subscribe();
        let ended = stage.wait_for(|stage| !matches!(stage, Stage::Open)).await;
        let ended = ended.map(|stage| stage.clone());
        match ended {
            Ok(Stage::Complete(length)) => Ok(length),
            Ok(Stage::Refused(failure)) => Err(failure),
            // the sender lives as long as this does
            Ok(Stage::Open) | Err(_) => std::future::pending().await,
        }
    }

    /// Where it is. Whoever asks is the sender, come back: a piece still open belongs to its dead connection and ends.
    pub async fn position(&self) -> Result<Position, UploadError> {
        Ok(position(&self.alone().await?.0))
    }

    /// The upload to oneself, and what tells when another sender wants it.
    async fn alone(&self) -> Result<(MutexGuard<'_, Record>, watch::Receiver<u64>), UploadError> {
        self.latest.send_modify(|number| *number += 1);
        let locked = timeout(MAKE_ROOM, self.state.lock()).await;
        let record = locked.map_err(|_| UploadError::Busy)?;
        Ok((record, self.latest.subscribe()))
    }

    /// Says how long it will be; the same again is fine.
    pub async fn begin(&self, length: u64, quota: u64) -> Result<Position, UploadError> {
        let limit = quota.min(self.shared.settings().limits.object_bytes);
        if length > limit {
            return Err(UploadError::TooLarge { limit });
        }
        let (mut record, _) = self.alone().await?;
        match position(&record).length {
            Some(known) if known != length => {
                return Err(UploadError::Length { length: Some(known), asked: Some(length) });
            }
            Some(_) => {}
            None => {
                let marks = Validator { total: Some(length), ..Validator::default() };
                record.state = State::Fetching { taken: 0, restart: None, marks: Some(marks) };
                self.shared.journal.keep(&record).map_err(|error| journal(&error))?;
                self.view.set_total(Some(length));
            }
        }
        Ok(position(&record))
    }

    /// Takes one piece; returns where the next begins.
    pub async fn piece<E>(
        &self,
        piece: Piece,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<u64, UploadError> {
        let (mut record, mut other) = self.alone().await?;
        if !matches!(*self.stage.borrow(), Stage::Open) {
            return Err(UploadError::Over);
        }
        let Position { offset, length } = position(&record);
        let Some(length) = length else {
            return Err(UploadError::Length { length: None, asked: None });
        };
        if piece.offset != offset {
            return Err(UploadError::Offset { offset });
        }
        let mut intake = self.intake(&record, &piece, length).await?;
        loop {
            match next(&mut body, &mut other).await {
                Next::Bytes(bytes) => intake = intake.take(bytes).await?,
                Next::End => break,
                Next::CutOff => {
                    intake.cut_off = true;
                    break;
                }
            }
        }
        let cut_off = intake.cut_off;
        let reached = intake.finish(self.wanted.clone()).await;
        let reached = match reached {
            Ok(reached) => reached,
            Err(UploadError::Refused(failure)) => {
                self.stage.send_replace(Stage::Refused(failure.clone()));
                return Err(UploadError::Refused(failure));
            }
            Err(other) => return Err(other),
        };
        if let State::Fetching { taken, .. } = &mut record.state {
            *taken = reached;
        }
        self.shared.journal.keep(&record).map_err(|error| journal(&error))?;
        self.view.gauge.taken.store(reached, std::sync::atomic::Ordering::Relaxed);
        if reached == length {
            self.stage.send_replace(Stage::Complete(length));
        }
        if cut_off { Err(UploadError::CutOff) } else { Ok(reached) }
    }

    async fn intake(
        &self,
        record: &Record,
        piece: &Piece,
        length: u64,
    ) -> Result<Intake, UploadError> {
        let entry = self.shared.stores.get(&self.store).map_err(|error| of_store(&error))?;
        let workspace = entry.ask(|store| store.workspace()).await.map_err(|e| of_store(&e))?;
        let limits = self.shared.settings().limits;
        let path = workspace.folder.join(record.source_part());
        let start = piece.offset;
        let output = blocking(move || {
            let file = workspace.disk.create(&path).map_err(PassError::disk("opening the part"))?;
            Output::new(file, start)
        });
        let end = length.min(piece.quota).min(start.saturating_add(limits.chunk_bytes));
        Ok(Intake {
            output: output.await?,
            start,
            most: end - start.min(end),
            hasher: piece.digest.as_ref().map(|(algorithm, _)| Hasher::new(*algorithm)),
            digest: piece.digest.as_ref().map(|(_, digest)| digest.clone()),
            cut_off: false,
        })
    }
}

enum Next {
    Bytes(Bytes),
    End,
    CutOff,
}

/// What comes next of a piece; it is cut off when its sender is silent, gone, or here again on another connection.
async fn next<E>(
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    other: &mut watch::Receiver<u64>,
) -> Next {
    tokio::select! {
        next = timeout(SILENCE, body.next()) => match next {
            Ok(Some(Ok(bytes))) => Next::Bytes(bytes),
            Ok(None) => Next::End,
            Ok(Some(Err(_))) | Err(_) => Next::CutOff,
        },
        _ = other.changed() => Next::CutOff,
    }
}

/// A piece on its way in.
struct Intake {
    output: Output,
    start: u64,
    most: u64,
    hasher: Option<Hasher>,
    digest: Option<Vec<u8>>,
    cut_off: bool,
}

impl Intake {
    async fn take(mut self, bytes: Bytes) -> Result<Self, UploadError> {
        let got = self.output.length() - self.start + u64::try_from(bytes.len()).unwrap_or(0);
        if got > self.most {
            return Err(UploadError::TooLarge { limit: self.most });
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        blocking(move || {
            let at = self.output.length();
            self.output.write(at, &bytes)?;
            Ok(self)
        })
        .await
    }

    /// Keeps the piece or drops it; returns where the next begins.
    async fn finish(self, wanted: Wanted) -> Result<u64, UploadError> {
        let Self { mut output, start, hasher, digest, cut_off, .. } = self;
        let right = match (hasher, digest) {
            (Some(hasher), Some(digest)) => !cut_off && hasher.bytes() == digest,
            _ => true,
        };
        if !right {
            blocking(move || output.cut(start)).await?;
            return Err(if cut_off { UploadError::CutOff } else { UploadError::Digest });
        }
        blocking(move || {
            output.sync()?;
            look(&output, &wanted)?;
            Ok(output.length())
        })
        .await
    }
}

/// Judges the beginning of what is there; what is compressed shows itself later.
fn look(output: &Output, wanted: &Wanted) -> Result<(), PassError> {
    let length = output.length();
    let file = &**output.file();
    let mut head = [0; unpack::HEAD];
    let read = file.read_at(0, &mut head).map_err(PassError::disk("reading the part"))?;
    if unpack::sniff(head.get(..read).unwrap_or_default()).is_some() || length > LOOK * 64 {
        return Ok(());
    }
    match image::inspect(&Partial { file, length, complete: false }, wanted) {
        Ok(_) | Err(Judgement::NotYet) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// Runs what waits for a disk where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PassError> + Send + 'static,
) -> Result<T, UploadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error @ PassError::Refused(_))) => Err(UploadError::Refused(Failure::from(&error))),
        Ok(Err(error)) => Err(UploadError::Store(Failure::from(&error))),
        Err(error) => Err(UploadError::Store(Failure {
            code: "internal".to_owned(),
            reason: error.to_string(),
            retry: true,
        })),
    }
}

fn of_store(error: &StoreError) -> UploadError {
    UploadError::Store(Failure::from(error))
}

fn journal(error: &super::JournalError) -> UploadError {
    let reason = chain(error);
    UploadError::Store(Failure { code: "journal".to_owned(), reason, retry: true })
}

fn position(record: &Record) -> Position {
    match &record.state {
        State::Fetching { taken, marks, .. } => {
            Position { offset: *taken, length: marks.as_ref().and_then(|marks| marks.total) }
        }
        _ => Position { offset: 0, length: None },
    }
}
