//! The one pass over an image: count, hash, unpack, inspect and write, while it arrives.
//!
//! Guarantees: every byte of the source goes through once, in order; what is compared and recorded is counted from the very
//! bytes that are written; zeros become holes; an image that is refused is refused as early as its bytes allow; sizes are
//! bounded while they grow. What was taken and is durable is told at every checkpoint, so that a pass that is cut off at any
//! moment is taken up from there: the source's bytes kept in the part are read again, none of them is fetched again.
//!
//! A source that is not compressed is its own part. In a zstd one there are places where unpacking can begin anew; the latest
//! is kept with the states of the hash functions, and no byte of it is written twice. Of a source packed otherwise the part
//! keeps the bytes as they come, for a restart alone, unless its server could not go on anyway.

mod error;
mod keeper;
mod lanes;
mod output;
mod packed;
mod partial;
mod standing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;

pub use error::PassError;
pub use packed::Restart;

use crate::checksum::{Checksum, HashFunction};
use crate::image::{self, Inspection, Judgement, Wanted};
use crate::store::Workspace;
use crate::unpack::{self, Compression};
pub(crate) use output::Output;
pub(crate) use partial::Partial;
pub use standing::{Standing, Terms, judge};

use keeper::{Keeper, Mark};
use lanes::{Digests, Lanes};
use packed::{IMAGE, Packed};

/// Lengths at which an image that is still arriving is looked at.
const LOOKS: [u64; 3] = [1 << 16, 1 << 20, 4 << 20];
/// Bytes read at once from a part that is taken up again.
const AGAIN: usize = 1 << 20;

/// What is to be done with the bytes.
pub struct Plan {
    /// Where the parts are.
    pub workspace: Workspace,
    /// File name of the part that keeps the source's bytes.
    pub source: String,
    /// File name of the part that they are unpacked to.
    pub unpacked: String,
    /// Bytes of the source that the part has from before; none of them when there is a `restart`.
    pub taken: u64,
    /// Where a zstd source is taken up.
    pub restart: Option<Box<Restart>>,
    /// What the image must be.
    pub wanted: Wanted,
    /// What the source's bytes must hash to.
    pub checksum: Option<Checksum>,
    /// Most bytes of the image on the store.
    pub most: u64,
    /// Most memory for unpacking.
    pub unpack_bytes: u64,
    /// Most bytes that are lost when the machine is: those behind the last checkpoint, and of one that is being made.
    pub checkpoint_bytes: u64,
    /// Seen by others while it runs.
    pub gauge: Arc<Gauge>,
}

/// How far a pass is.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Bytes of the source that went through.
    pub taken: AtomicU64,
    /// Bytes of the image, unpacked.
    pub image: AtomicU64,
    /// Bytes written to the store, holes left out.
    pub written: AtomicU64,
    /// Whether the bytes of a compressed source are worth keeping for a restart.
    pub keep: AtomicBool,
}

/// What goes into a pass.
#[derive(Debug)]
pub enum Feed {
    /// The next bytes of the source.
    Bytes(Bytes),
    /// There are no more.
    End,
}

/// What came out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// File name of the part that is the image, durable.
    pub part: String,
    /// What it is.
    pub image: Inspection,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: String,
    /// Its digest.
    pub sha512: String,
    /// Length of the source.
    pub source_size: u64,
    /// Digest of the source.
    pub source_digest: Checksum,
    /// How the source was compressed.
    pub compression: Option<Compression>,
}

/// From where a pass can be taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durable {
    /// From nowhere but the start.
    Nothing,
    /// From this many bytes of the source, which are in its part.
    Kept(u64),
    /// From a place in a zstd source.
    Restart(Box<Restart>),
}

/// Told what is durable; its error ends the pass.
pub type Checkpoint<'a> = dyn FnMut(Durable) -> Result<(), PassError> + Send + 'a;

/// Runs a pass over what comes out of `feed`; blocks. `checkpoint` is called now and then, on a thread of its own.
///
/// Errors: see [`PassError`]; parts are left as they are.
pub fn run(
    plan: Plan,
    feed: Receiver<Feed>,
    checkpoint: &mut Checkpoint<'_>,
) -> Result<Passed, PassError> {
    let mut pass = Pass::begin(plan)?;
    pass.take_up()?;
    let through = std::thread::scope(|scope| {
        let keeper = Keeper::start(scope, checkpoint);
        let through = pass.all(feed, &keeper);
        match (through, keeper.finish()) {
            // a feed that ended may have ended for the same reason, and this one says which
            (Ok(()) | Err(PassError::Abandoned), Err(error)) => Err(error),
            (through, _) => through,
        }
    });
    through.and_then(|()| pass.finish())
}

struct Pass {
    plan: Plan,
    source: Output,
    /// Bytes of the source that went through.
    taken: u64,
    /// What [`Pass::moved`] was at the last checkpoint.
    noted: u64,
    stage: Stage,
    /// How many of [`LOOKS`] are behind.
    looks: usize,
}

enum Stage {
    /// Too few bytes to tell how the source is compressed.
    Head(Vec<u8>),
    Plain(Lanes),
    Packed(Box<Packed>),
}

impl Pass {
    fn begin(plan: Plan) -> Result<Self, PassError> {
        let path = plan.workspace.folder.join(&plan.source);
        let file =
            plan.workspace.disk.create(&path).map_err(PassError::disk("opening the part"))?;
        let source = Output::new(file, plan.taken)?;
        plan.gauge.taken.store(0, Ordering::Relaxed);
        let (mut taken, mut stage) = (0, Stage::Head(Vec::new()));
        if let Some(restart) = &plan.restart {
            packed::gauge(&plan, restart);
            taken = restart.source;
            stage = Stage::Packed(Box::new(Packed::take_up(&plan, restart)?));
        }
        Ok(Self { plan, source, taken, noted: 0, stage, looks: 0 })
    }

    /// Reads what the part has from before.
    fn take_up(&mut self) -> Result<(), PassError> {
        let file = Arc::clone(self.source.file());
        while self.plan.restart.is_none() && self.taken < self.plan.taken {
            let left = usize::try_from(self.plan.taken - self.taken).unwrap_or(AGAIN);
            let mut block = vec![0; left.min(AGAIN)];
            let read = file.read_at(self.taken, &mut block);
            let read = read.map_err(PassError::disk("reading the part again"))?;
            if read < block.len() {
                return Err(PassError::disk("reading the part again")(std::io::Error::other(
                    "it is shorter than it was",
                )));
            }
            self.through(&Bytes::from(block))?;
        }
        self.noted = self.moved();
        Ok(())
    }

    /// Takes everything that comes.
    fn all(&mut self, mut feed: Receiver<Feed>, keeper: &Keeper<'_>) -> Result<(), PassError> {
        while let Some(next) = feed.blocking_recv() {
            match next {
                Feed::Bytes(bytes) => self.take(&bytes, keeper)?,
                Feed::End => return Ok(()),
            }
        }
        Err(PassError::Abandoned)
    }

    fn take(&mut self, bytes: &Bytes, keeper: &Keeper<'_>) -> Result<(), PassError> {
        let at = self.taken;
        self.want_a_place(bytes);
        self.through(bytes)?;
        if self.keeps() {
            self.source.write(at, bytes)?;
        }
        self.count_written();
        self.look()?;
        if !self.is_due() {
            return Ok(());
        }
        self.noted = self.moved();
        let mark = self.mark()?;
        if keeper.make_durable(mark) { Ok(()) } else { Err(PassError::Abandoned) }
    }

    /// Asks for the next place in the very bytes that make a checkpoint due, and early enough that one is found in time.
    fn want_a_place(&mut self, bytes: &Bytes) {
        let coming = u64::try_from(bytes.len()).unwrap_or(0);
        let since = self.moved() - self.noted;
        let keep = self.plan.gauge.keep.load(Ordering::Relaxed);
        let near = since + coming >= self.interval();
        if let Stage::Packed(packed) = &mut self.stage
            && keep
            && near
            && packed.ready.is_none()
        {
            packed.want();
        }
    }

    /// Whether it is time for a checkpoint: when a place was found, where places are needed.
    fn is_due(&self) -> bool {
        match &self.stage {
            Stage::Packed(packed)
                if packed.finds_places() && self.plan.gauge.keep.load(Ordering::Relaxed) =>
            {
                packed.ready.is_some()
            }
            _ => self.moved() - self.noted >= self.interval(),
        }
    }

    /// Bytes between two checkpoints: while one is being made, as much again goes through.
    const fn interval(&self) -> u64 {
        self.plan.checkpoint_bytes / 2
    }

    /// Bytes that went in and out, by which checkpoints are paced.
    fn moved(&self) -> u64 {
        match &self.stage {
            Stage::Packed(packed) => self.taken.max(packed.output.length()),
            Stage::Head(_) | Stage::Plain(_) => self.taken,
        }
    }

    /// What there is to be made durable.
    fn mark(&mut self) -> Result<Mark, PassError> {
        if self.keeps() {
            return Ok(Mark::Kept(self.source.whole_file()?, self.source.length()));
        }
        let Stage::Packed(packed) = &mut self.stage else { return Ok(Mark::Nothing) };
        let Some(found) = packed.ready.take() else { return Ok(Mark::Nothing) };
        Ok(Mark::Place(packed.output.whole_file()?, found))
    }

    /// Whether the source's bytes go into the part: always when they are the image.
    fn keeps(&self) -> bool {
        match &self.stage {
            Stage::Packed(packed) => {
                !packed.finds_places() && self.plan.gauge.keep.load(Ordering::Relaxed)
            }
            Stage::Head(_) | Stage::Plain(_) => true,
        }
    }

    fn through(&mut self, bytes: &Bytes) -> Result<(), PassError> {
        self.taken += u64::try_from(bytes.len()).unwrap_or(0);
        self.plan.gauge.taken.store(self.taken, Ordering::Relaxed);
        match &mut self.stage {
            Stage::Head(head) => {
                head.extend_from_slice(bytes);
                if head.len() >= unpack::HEAD { self.decide() } else { Ok(()) }
            }
            Stage::Plain(lanes) => {
                lanes.update(bytes);
                self.grown(self.taken)
            }
            Stage::Packed(packed) => {
                packed.take(bytes, self.plan.most)?;
                let length = packed.output.length();
                self.grown(length)
            }
        }
    }

    /// Tells from the first bytes what is to be done with all of them.
    fn decide(&mut self) -> Result<(), PassError> {
        let Stage::Head(head) = &mut self.stage else { return Ok(()) };
        let head = Bytes::from(std::mem::take(head));
        self.stage = match unpack::sniff(&head) {
            None => Stage::Plain(Lanes::new(&with(&self.plan, &IMAGE))),
            Some(compression) => {
                Stage::Packed(Box::new(Packed::begin(&self.plan, compression, &head)?))
            }
        };
        // once more, now that it is known where they go
        self.taken -= u64::try_from(head.len()).unwrap_or(0);
        self.through(&head)
    }

    /// The image has reached `length` bytes.
    fn grown(&mut self, length: u64) -> Result<(), PassError> {
        if length > self.plan.most {
            return Err(PassError::TooLarge { limit: self.plan.most });
        }
        self.plan.gauge.image.store(length, Ordering::Relaxed);
        Ok(())
    }

    /// Judges what has arrived, a few times while it is little.
    fn look(&mut self) -> Result<(), PassError> {
        let output = match &self.stage {
            Stage::Packed(packed) => &packed.output,
            Stage::Head(_) | Stage::Plain(_) => &self.source,
        };
        let length = output.length();
        if LOOKS.get(self.looks).is_none_or(|look| length < *look) {
            return Ok(());
        }
        let so_far = Partial { file: &**output.file(), length, complete: false };
        let judged = image::inspect(&so_far, &self.plan.wanted);
        self.looks = LOOKS.iter().filter(|look| length >= **look).count();
        match judged {
            Ok(_) | Err(Judgement::NotYet) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    fn count_written(&self) {
        let unpacked = match &self.stage {
            Stage::Packed(packed) => packed.output.written(),
            Stage::Head(_) | Stage::Plain(_) => 0,
        };
        let written = self.source.written() + unpacked;
        self.plan.gauge.written.store(written, Ordering::Relaxed);
    }

    fn finish(mut self) -> Result<Passed, PassError> {
        if matches!(self.stage, Stage::Head(_)) {
            self.decide()?;
        }
        match self.stage {
            Stage::Head(_) => Err(PassError::Abandoned),
            Stage::Plain(lanes) => {
                let digests = lanes.finish();
                let digest = source_digest(&self.plan, &digests)?;
                let part = self.plan.source.clone();
                conclude(&self.plan, self.source, (part, self.taken), &digests, (digest, None))
            }
            Stage::Packed(packed) => {
                let mut packed = *packed;
                let most = self.plan.most;
                packed.finish(most)?;
                let digest = source_digest(&self.plan, &packed.source.finish())?;
                let compression = Some(packed.unpacker.compression());
                let digests = packed.image.finish();
                let part = self.plan.unpacked.clone();
                let source = (digest, compression);
                conclude(&self.plan, packed.output, (part, self.taken), &digests, source)
            }
        }
    }
}

/// `algorithms`, and that of the checksum to compare.
fn with(plan: &Plan, algorithms: &[HashFunction]) -> Vec<HashFunction> {
    let asked = plan.checksum.as_ref().map(Checksum::function);
    let mut all: Vec<HashFunction> = algorithms.iter().copied().chain(asked).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The source's digest, which must be the one that was given.
fn source_digest(plan: &Plan, digests: &Digests) -> Result<Checksum, PassError> {
    let algorithm = plan.checksum.as_ref().map_or(HashFunction::Sha256, Checksum::function);
    let found = digests.checksum(algorithm);
    match &plan.checksum {
        Some(wanted) if *wanted != found => {
            Err(PassError::Checksum { wanted: wanted.clone(), found })
        }
        _ => Ok(found),
    }
}

/// Inspects the complete image and makes it durable.
fn conclude(
    plan: &Plan,
    mut output: Output,
    (part, source_size): (String, u64),
    digests: &Digests,
    (source_digest, compression): (Checksum, Option<Compression>),
) -> Result<Passed, PassError> {
    let size = output.complete()?;
    let whole = Partial { file: &**output.file(), length: size, complete: true };
    let image = image::inspect(&whole, &plan.wanted)?;
    output.sync()?;
    plan.gauge.written.fetch_max(output.written(), Ordering::Relaxed);
    Ok(Passed {
        part,
        image,
        size,
        sha256: digests.checksum(HashFunction::Sha256).hex().to_owned(),
        sha512: digests.checksum(HashFunction::Sha512).hex().to_owned(),
        source_size,
        source_digest,
        compression,
    })
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::semicolon_if_nothing_returned)]
// numbers of a test
mod tests;
