//! Makes durable what a pass wrote, beside it: the disk writes the one half while the other is being unpacked and hashed.
//!
//! Guarantees: a checkpoint is told only of what is durable, one after the other; the next one waits for the one before, so
//! that what is not durable is bounded; no error is lost.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::packed::Found;
use super::{Checkpoint, Durable, PassError};
use crate::disk::File;

/// What is to be made durable, and what can then be said.
pub(super) enum Mark {
    /// Nothing; the checkpoint alone is asked whether to go on.
    Nothing,
    /// So many bytes of the source in this file.
    Kept(Arc<dyn File>, u64),
    /// A place in a zstd source, with the image up to it in this file.
    Place(Arc<dyn File>, Box<Found>),
}

/// A thread that does so.
pub(super) struct Keeper<'scope> {
    told: SyncSender<Mark>,
    thread: ScopedJoinHandle<'scope, Result<(), PassError>>,
}

impl<'scope> Keeper<'scope> {
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        checkpoint: &'scope mut Checkpoint<'_>,
    ) -> Self {
        // none may wait: whoever tells of one waits until the one before is durable
        let (told, marks) = sync_channel(0);
        let thread = scope.spawn(move || keep(&marks, checkpoint));
        Self { told, thread }
    }

    /// Has `mark` made durable; waits for the one before. False: that one failed, and [`Keeper::finish`] says how.
    pub(super) fn make_durable(&self, mark: Mark) -> bool {
        self.told.send(mark).is_ok()
    }

    /// Waits until everything is durable that was to be.
    pub(super) fn finish(self) -> Result<(), PassError> {
        drop(self.told);
        let failed = |_| PassError::disk("a checkpoint")(std::io::Error::other("it panicked"));
        self.thread.join().map_err(failed)?
    }
}

fn keep(marks: &Receiver<Mark>, checkpoint: &mut Checkpoint<'_>) -> Result<(), PassError> {
    for mark in marks {
        checkpoint(durable(mark)?)?;
    }
    Ok(())
}

fn durable(mark: Mark) -> Result<Durable, PassError> {
    let synced = |file: &dyn File| file.sync().map_err(PassError::disk("making the part durable"));
    Ok(match mark {
        Mark::Nothing => Durable::Nothing,
        Mark::Kept(file, length) => {
            synced(&*file)?;
            Durable::Kept(length)
        }
        Mark::Place(file, found) => {
            synced(&*file)?;
            Durable::Restart(Box::new(found.restart()))
        }
    })
}
