//! Hash functions side by side, each on a thread of its own, over the same blocks.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;

use crate::checksum::{Algorithm, Checksum, Hasher};

/// Blocks that may wait in front of a lane; they are shared, so this bounds memory once and not once a lane.
const WAITING: usize = 4;

/// Threads that hash what they are given.
pub(super) struct Lanes(Vec<Lane>);

struct Lane {
    algorithm: Algorithm,
    blocks: SyncSender<Bytes>,
    thread: JoinHandle<String>,
}

/// What they hashed.
pub(super) struct Digests(Vec<(Algorithm, String)>);

impl Lanes {
    pub(super) fn new(algorithms: &[Algorithm]) -> Self {
        Self(algorithms.iter().copied().map(Lane::start).collect())
    }

    pub(super) fn update(&mut self, block: &Bytes) {
        for lane in &self.0 {
            // a lane ends only after its sender
            let _ = lane.blocks.send(block.clone());
        }
    }

    pub(super) fn finish(self) -> Digests {
        let (senders, threads): (Vec<_>, Vec<_>) =
            self.0.into_iter().map(|l| (l.blocks, (l.algorithm, l.thread))).unzip();
        drop(senders);
        let join = |(algorithm, thread): (Algorithm, JoinHandle<String>)| {
            (algorithm, thread.join().unwrap_or_default())
        };
        Digests(threads.into_iter().map(join).collect())
    }
}

impl Lane {
    fn start(algorithm: Algorithm) -> Self {
        let (blocks, waiting) = sync_channel::<Bytes>(WAITING);
        let thread = std::thread::spawn(move || {
            let mut hasher = Hasher::new(algorithm);
            for block in waiting {
                hasher.update(&block);
            }
            hasher.hex()
        });
        Self { algorithm, blocks, thread }
    }
}

impl Digests {
    /// The result of `algorithm`, which must be one of those that ran.
    pub(super) fn checksum(&self, algorithm: Algorithm) -> Checksum {
        let found = self.0.iter().find(|(other, _)| *other == algorithm);
        Checksum::new(algorithm, found.map_or(String::new(), |(_, hex)| hex.clone()))
    }
}
