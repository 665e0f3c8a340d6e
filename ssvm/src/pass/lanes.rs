//! Hash functions side by side, each on a thread of its own, over the same blocks.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::checksum::{Checksum, HashFunction, Hasher};

/// Blocks that may wait in front of a lane; they are shared, so this bounds memory once and not once a lane.
const WAITING: usize = 4;

/// Threads that hash what they are given.
pub(super) struct Lanes(Vec<Lane>);

/// What a lane is told.
enum Told {
    Block(Bytes),
    /// To say in which state it is, behind all blocks so far.
    Save(Sender<Vec<u8>>),
}

struct Lane {
    function: HashFunction,
    told: SyncSender<Told>,
    thread: JoinHandle<Checksum>,
}

/// States of hash functions that were asked for and may not have been reached yet.
pub(super) struct Saving(Vec<(HashFunction, Receiver<Vec<u8>>)>);

/// States of hash functions, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Saved(BTreeMap<String, Vec<u8>>);

/// What they hashed.
pub(super) struct Digests(Vec<Checksum>);

impl Lanes {
    pub(super) fn new(functions: &[HashFunction]) -> Self {
        Self(functions.iter().map(|f| Lane::start(*f, Hasher::new(*f))).collect())
    }

    /// The same, from states that [`Lanes::save`] gave; none when they are not those of `functions`.
    pub(super) fn restore(functions: &[HashFunction], saved: &Saved) -> Option<Self> {
        let one = |function: &HashFunction| {
            let hasher = Hasher::restore(*function, saved.0.get(function.as_str())?)?;
            Some(Lane::start(*function, hasher))
        };
        functions.iter().map(one).collect::<Option<_>>().map(Self)
    }

    pub(super) fn update(&mut self, block: &Bytes) {
        for lane in &self.0 {
            // a lane ends only after its sender
            let _ = lane.told.send(Told::Block(block.clone()));
        }
    }

    /// Asks for the states behind all blocks so far; waits for nothing.
    pub(super) fn save(&self) -> Saving {
        let ask = |lane: &Lane| {
            let (state, answer) = channel();
            let _ = lane.told.send(Told::Save(state));
            (lane.function, answer)
        };
        Saving(self.0.iter().map(ask).collect())
    }

    pub(super) fn finish(self) -> Digests {
        let (senders, threads): (Vec<_>, Vec<_>) =
            self.0.into_iter().map(|lane| (lane.told, lane.thread)).unzip();
        drop(senders);
        Digests(threads.into_iter().filter_map(|thread| thread.join().ok()).collect())
    }
}

impl Saving {
    /// Waits until all lanes are there.
    pub(super) fn saved(self) -> Saved {
        let answered = self.0.into_iter().filter_map(|(function, answer)| {
            Some((function.as_str().to_owned(), answer.recv().ok()?))
        });
        Saved(answered.collect())
    }
}

impl Lane {
    fn start(function: HashFunction, mut hasher: Hasher) -> Self {
        let (told, waiting) = sync_channel::<Told>(WAITING);
        let thread = std::thread::spawn(move || {
            for told in waiting {
                match told {
                    Told::Block(block) => hasher.update(&block),
                    // whoever asked may be gone
                    Told::Save(state) => drop(state.send(hasher.save())),
                }
            }
            Checksum::of(function, &hasher.bytes())
        });
        Self { function, told, thread }
    }
}

impl Digests {
    /// The result of `function`; of one that did not run, a checksum that nothing has.
    pub(super) fn checksum(&self, function: HashFunction) -> Checksum {
        let found = self.0.iter().find(|checksum| checksum.function() == function);
        found.cloned().unwrap_or_else(|| Checksum::of(function, &[]))
    }
}
