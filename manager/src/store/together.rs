//! Changes that come at once share a transaction: one begin, one turn and one commit for as many as wait for each other.
//!
//! A change that is made hands the open transaction to the next that waits in this process, and is answered when it is
//! committed: by the last one, once nobody waits, or there are [`MOST`] of them, or the first is [`LONGEST`] old.
//!
//! Guarantees: what is answered is committed; a change that fails, or whose caller goes away, undoes itself alone (each but
//! the first stands behind a savepoint); a transaction that is lost is told to all whose changes were in it; nobody who
//! goes away while waiting holds up the others. Not here: changes that take long, which have a transaction of their own.
//!
//! Rejected: several statements of all in one message, which would save more, since each change asks what it needs by itself.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Any, Transaction};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{Conn, PATIENCE};

/// Most changes of one transaction.
const MOST: usize = 32;
/// How old a transaction may be that is still handed on.
const LONGEST: Duration = Duration::from_millis(20);
const BEGIN: &str = "SAVEPOINT change";
const UNDO: &str = "ROLLBACK TO SAVEPOINT change";

/// Who hears whether the transaction was committed.
type Told = oneshot::Sender<Result<(), sqlx::Error>>;

/// Who waits for the open transaction of this process.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Somebody has the transaction, or is about to begin one.
    open: bool,
    line: VecDeque<oneshot::Sender<Handed>>,
}

/// What the first of those that wait is given.
#[derive(Debug)]
enum Handed {
    /// It is to begin a transaction.
    Open(Opening),
    /// One with changes in it.
    Part(Part),
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // it is right between any two statements
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the open transaction, or for being the one who begins it.
    async fn line_up(self: &Arc<Self>) -> Result<Handed, sqlx::Error> {
        let receiver = {
            let mut waiting = self.waiting();
            if !mem::replace(&mut waiting.open, true) {
                return Ok(Handed::Open(Opening(Some(Arc::clone(self)))));
            }
            let (sender, receiver) = oneshot::channel();
            waiting.line.push_back(sender);
            receiver
        };
        let handed = tokio::time::timeout(PATIENCE, receiver).await;
        handed.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| lost())
    }

    /// The first that still waits.
    fn first(&self) -> Option<oneshot::Sender<Handed>> {
        let mut waiting = self.waiting();
        while let Some(sender) = waiting.line.pop_front() {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    /// Has the first that waits begin another transaction.
    fn open_another(self: &Arc<Self>) {
        let mut waiting = self.waiting();
        while let Some(sender) = waiting.line.pop_front() {
            if !sender.is_closed() {
                drop(waiting);
                // one that went away just now drops it, and so has the next one do it
                drop(sender.send(Handed::Open(Opening(Some(Arc::clone(self))))));
                return;
            }
        }
        waiting.open = false;
    }
}

/// The right to begin a transaction; dropped, it is the next one's.
#[derive(Debug)]
struct Opening(Option<Arc<Queue>>);

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.open_another();
        }
    }
}

/// A transaction with the changes that were made in it.
#[derive(Debug)]
struct Batch {
    transaction: Transaction<'static, Any>,
    begun: Instant,
    told: Vec<Told>,
}

impl Batch {
    /// Ends it, whatever becomes of the callers.
    async fn commit(self) {
        let mut outcome = self.transaction.commit().await;
        for told in self.told {
            let failed = outcome.is_err();
            // whoever went away need not know
            drop(told.send(outcome));
            outcome = if failed { Err(lost()) } else { Ok(()) };
        }
    }
}

/// Why a change is not in force that others undid with them: a retry can help.
fn lost() -> sqlx::Error {
    let reason = "the transaction that the change shared was not committed";
    io::Error::new(io::ErrorKind::ConnectionAborted, reason).into()
}

/// One change's part of a transaction. Dropped without commit, the change is undone and the others are not.
#[derive(Debug)]
pub struct Part {
    queue: Arc<Queue>,
    /// None once it is handed on.
    batch: Option<Batch>,
    /// Something may have been written since it was handed over.
    used: bool,
}

impl Part {
    /// Waits for the open transaction of this process, or begins one by `begin`.
    pub(super) async fn of<F>(queue: &Arc<Queue>, begin: F) -> Result<Self, sqlx::Error>
    where
        F: Future<Output = Result<Transaction<'static, Any>, sqlx::Error>>,
    {
        let mut part = match queue.line_up().await? {
            Handed::Part(part) => part,
            Handed::Open(mut opening) => {
                let transaction = begin.await?;
                // the next one is begun when this is over
                opening.0 = None;
                return Ok(Self::first(Arc::clone(queue), transaction));
            }
        };
        sqlx::raw_sql(BEGIN).execute(&mut *part).await?;
        part.used = true;
        Ok(part)
    }

    /// One that shares its transaction with nobody.
    pub(super) fn alone(transaction: Transaction<'static, Any>) -> Self {
        Self::first(Arc::default(), transaction)
    }

    fn first(queue: Arc<Queue>, transaction: Transaction<'static, Any>) -> Self {
        let batch = Batch { transaction, begun: Instant::now(), told: Vec::new() };
        Self { queue, batch: Some(batch), used: true }
    }

    /// Ends the change; returns when it is in force.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        let Some(mut batch) = self.batch.take() else { return Err(lost()) };
        let (sender, receiver) = oneshot::channel();
        batch.told.push(sender);
        hand_on(&self.queue, batch);
        receiver.await.map_err(|_| lost())?
    }
}

/// Gives the transaction to the next that waits, or commits it.
fn hand_on(queue: &Arc<Queue>, mut batch: Batch) {
    while batch.told.len() < MOST && batch.begun.elapsed() < LONGEST {
        let Some(next) = queue.first() else { break };
        let part = Part { queue: Arc::clone(queue), batch: Some(batch), used: false };
        match next.send(Handed::Part(part)) {
            Ok(()) => return,
            // it went away just now
            Err(Handed::Part(mut part)) => match part.batch.take() {
                Some(back) => batch = back,
                None => return,
            },
            Err(Handed::Open(_)) => return,
        }
    }
    // who begins the next one waits for the end of this where both have one turn
    queue.open_another();
    tokio::spawn(batch.commit());
}

/// Takes back what the change at the end of a transaction did, and goes on without it.
async fn undo(queue: Arc<Queue>, mut batch: Batch) {
    if sqlx::raw_sql(UNDO).execute(&mut *batch.transaction).await.is_ok() {
        hand_on(&queue, batch);
    } else {
        queue.open_another();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        match (batch.told.is_empty(), Handle::try_current()) {
            (false, Ok(runtime)) => {
                let queue = Arc::clone(&self.queue);
                let used = self.used;
                runtime.spawn(async move {
                    if used { undo(queue, batch).await } else { hand_on(&queue, batch) }
                });
            }
            // nothing else is in it, or nobody waits for what is
            _ => {
                drop(batch);
                self.queue.open_another();
            }
        }
    }
}

impl Deref for Part {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        match &self.batch {
            Some(batch) => &batch.transaction,
            None => unreachable!("what is handed on is consumed"),
        }
    }
}

impl DerefMut for Part {
    fn deref_mut(&mut self) -> &mut Conn {
        match &mut self.batch {
            Some(batch) => &mut batch.transaction,
            None => unreachable!("what is handed on is consumed"),
        }
    }
}
