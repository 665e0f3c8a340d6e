//! A compressed source on its way through: both sides hashed, the inside written.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::PassError;
use super::lanes::{Lanes, Saved, Saving};
use super::output::Output;
use super::{Plan, with};
use crate::checksum::HashFunction;
use crate::disk::File;
use crate::unpack::{Compression, Place, Scanner, Unpacker};

/// Hash functions of the image.
pub(super) const IMAGE: [HashFunction; 2] = [HashFunction::Sha256, HashFunction::Sha512];

/// Where a pass over a zstd source can be taken up without the bytes before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Bytes of the source before it.
    pub source: u64,
    /// Bytes of the image before it, durable in their part.
    pub image: u64,
    /// What the decoder needs.
    place: Place,
    /// What the hash functions of the source need.
    source_hashes: Saved,
    /// What those of the image need.
    image_hashes: Saved,
}

/// A place that was found, of which the hash functions may not be there yet.
pub(super) struct Found {
    source: u64,
    image: u64,
    place: Place,
    source_hashes: Saving,
    image_hashes: Saving,
}

impl Found {
    /// Waits for them.
    pub(super) fn restart(self) -> Restart {
        let Self { source, image, place, source_hashes, image_hashes } = self;
        let (source_hashes, image_hashes) = (source_hashes.saved(), image_hashes.saved());
        Restart { source, image, place, source_hashes, image_hashes }
    }
}

/// What goes on inside.
pub(super) struct Packed {
    pub(super) unpacker: Unpacker,
    pub(super) source: Lanes,
    pub(super) image: Lanes,
    pub(super) output: Output,
    scanner: Option<Scanner>,
    /// Bytes of the source that went in.
    taken: u64,
    /// The latest place, not durable yet.
    pub(super) ready: Option<Box<Found>>,
}

impl Packed {
    pub(super) fn begin(
        plan: &Plan,
        compression: Compression,
        head: &[u8],
    ) -> Result<Self, PassError> {
        Ok(Self {
            unpacker: Unpacker::new(compression, head, plan.unpack_bytes)?,
            source: Lanes::new(&of_source(plan)),
            image: Lanes::new(&IMAGE),
            output: Output::new(part(plan)?, 0)?,
            scanner: (compression == Compression::Zstd).then(Scanner::default),
            taken: 0,
            ready: None,
        })
    }

    /// Goes on at `restart`.
    pub(super) fn take_up(plan: &Plan, restart: &Restart) -> Result<Self, PassError> {
        let file = part(plan)?;
        let window = window(&*file, restart)?;
        let lanes = |functions: &[HashFunction], saved| {
            Lanes::restore(functions, saved).ok_or(PassError::Lost)
        };
        Ok(Self {
            unpacker: Unpacker::resume(&restart.place, &window, plan.unpack_bytes)?,
            source: lanes(&of_source(plan), &restart.source_hashes)?,
            image: lanes(&IMAGE, &restart.image_hashes)?,
            output: Output::new(file, restart.image)?,
            scanner: Some(Scanner::at(&restart.place)),
            taken: restart.source,
            ready: None,
        })
    }

    /// Whether it finds places to be taken up at by itself.
    pub(super) const fn finds_places(&self) -> bool {
        self.scanner.is_some()
    }

    /// The next place is to be kept.
    pub(super) const fn want(&mut self) {
        if let Some(scanner) = &mut self.scanner {
            scanner.want();
        }
    }

    /// Takes the next bytes of the source.
    pub(super) fn take(&mut self, bytes: &Bytes, most: u64) -> Result<(), PassError> {
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let (length, place) = match &mut self.scanner {
                Some(scanner) => scanner.scan(&rest),
                None => (rest.len(), None),
            };
            let piece = rest.split_to(length);
            self.source.update(&piece);
            self.push(&piece, most)?;
            self.taken += u64::try_from(length).unwrap_or(0);
            if let Some(place) = place {
                self.drain(most)?;
                self.ready = Some(Box::new(Found {
                    source: self.taken,
                    image: self.output.length(),
                    place,
                    source_hashes: self.source.save(),
                    image_hashes: self.image.save(),
                }));
            }
        }
        Ok(())
    }

    fn push(&mut self, bytes: &[u8], most: u64) -> Result<(), PassError> {
        let (image, output) = (&mut self.image, &mut self.output);
        self.unpacker.push(bytes, &mut |block| unpacked(image, output, &block, most))
    }

    fn drain(&mut self, most: u64) -> Result<(), PassError> {
        let (image, output) = (&mut self.image, &mut self.output);
        self.unpacker.drain(&mut |block| unpacked(image, output, &block, most))
    }

    pub(super) fn finish(&mut self, most: u64) -> Result<(), PassError> {
        let (image, output) = (&mut self.image, &mut self.output);
        self.unpacker.finish(&mut |block| unpacked(image, output, &block, most))
    }
}

fn of_source(plan: &Plan) -> Vec<HashFunction> {
    let fallback: &[HashFunction] =
        if plan.checksum.is_none() { &[HashFunction::Sha256] } else { &[] };
    with(plan, fallback)
}

fn part(plan: &Plan) -> Result<Arc<dyn File>, PassError> {
    let path = plan.workspace.folder.join(&plan.unpacked);
    plan.workspace.disk.create(&path).map_err(PassError::disk("opening the part"))
}

/// The end of the image so far, which the frame may refer to.
fn window(file: &dyn File, restart: &Restart) -> Result<Vec<u8>, PassError> {
    let length = restart.place.window().min(restart.image);
    let mut window = vec![0; usize::try_from(length).map_err(|_| PassError::Lost)?];
    let read = file.read_at(restart.image - length, &mut window);
    // a hole at the end is not there yet, but the length of the part was made durable with it
    match read.map_err(PassError::disk("reading the part again"))? {
        read if read == window.len() => Ok(window),
        _ => Err(PassError::Lost),
    }
}

/// Takes a block of the image; a bomb ends here, before its next block is made.
fn unpacked(
    image: &mut Lanes,
    output: &mut Output,
    block: &Bytes,
    most: u64,
) -> Result<(), PassError> {
    image.update(block);
    output.write(output.length(), block)?;
    if output.length() > most { Err(PassError::TooLarge { limit: most }) } else { Ok(()) }
}

/// Says what a plan that is taken up begins with.
pub(super) fn gauge(plan: &Plan, restart: &Restart) {
    plan.gauge.taken.store(restart.source, Ordering::Relaxed);
    plan.gauge.image.store(restart.image, Ordering::Relaxed);
}
