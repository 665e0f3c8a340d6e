//! Hash functions side by side, each on a thread of its own, over the same blocks.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;

use crate::checksum::{HashFunction, Checksum, Hasher};

/// Blocks that may wait in front of a lane; they are shared, so this bounds memory once and not once a lane.
const WAITING: usize = 4;

/// Threads that hash what they are given.
pub(super) struct Lanes(Vec<Lane>);

struct Lane {
    blocks: SyncSender<Bytes>,
    thread: JoinHandle<Checksum>,
}

/// What they hashed.
pub(super) struct Digests(Vec<Checksum>);

impl Lanes {
    pub(super) fn new(functions: &[HashFunction]) -> Self {
        Self(functions.iter().copied().map(Lane::start).collect())
    }

    pub(super) fn update(&mut self, block: &Bytes) {
        for lane in &self.0 {
            // a lane ends only after its sender
            let _ = lane.blocks.send(block.clone());
        }
    }

    pub(super) fn finish(self) -> Digests {
        let (senders, threads): (Vec<_>, Vec<_>) =
            self.0.into_iter().map(|lane| (lane.blocks, lane.thread)).unzip();
        drop(senders);
        Digests(threads.into_iter().filter_map(|thread| thread.join().ok()).collect())
    }
}

impl Lane {
    fn start(function: HashFunction) -> Self {
        let (blocks, waiting) = sync_channel::<Bytes>(WAITING);
        let thread = std::thread::spawn(move || {
            let mut hasher = Hasher::new(function);
            for block in waiting {
                hasher.update(&block);
            }
            Checksum::of(function, &hasher.bytes())
        });
        Self { blocks, thread }
    }
}

impl Digests {
    /// The result of `function`; of one that did not run, a checksum that nothing has.
    pub(super) fn checksum(&self, function: HashFunction) -> Checksum {
        let found = self.0.iter().find(|checksum| checksum.function() == function);
        found.cloned().unwrap_or_else(|| Checksum::of(function, &[]))
    }
}
