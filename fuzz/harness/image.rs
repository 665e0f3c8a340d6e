//! What the image fuzz targets and the stable test that replays their corpus do with bytes.
//!
//! An image is mostly zeros, so an input is a recipe: the length, then pieces with their offsets. Checksums are made right,
//! since whoever forges an image does so too.

#![allow(dead_code)] // each target uses one half

use std::io;
use std::sync::Arc;

use sluice_ssvm::convert::in_pieces;
use sluice_ssvm::disk::File;
use sluice_ssvm::image::{Format, Head, Judgement, inspect_as, samples};
use sluice_ssvm::unpack::{Compression, Place, Scanner, UnpackError, Unpacker};

/// Longest image.
const MOST: usize = 4 << 20;
/// Piece: offset (4 bytes, little-endian), length (2), bytes.
const PIECE: usize = 6;

/// The image of a recipe.
fn cook(recipe: &[u8]) -> Vec<u8> {
    let Some((length, mut rest)) = recipe.split_first_chunk() else { return Vec::new() };
    let mut image = vec![0; u32::from_le_bytes(*length) as usize % (MOST + 1)];
    while let Some((head, pieces)) = rest.split_first_chunk::<PIECE>() {
        let [a, b, c, d, e, f] = *head;
        let (offset, length) = (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]));
        let piece = pieces.get(..usize::from(length)).unwrap_or(pieces);
        let start = offset as usize;
        if let Some(place) = image.get_mut(start..start + piece.len()) {
            place.copy_from_slice(piece);
        }
        rest = pieces.get(piece.len()..).unwrap_or_default();
    }
    image
}

/// The recipe of an image: its bytes that are not zero.
pub(crate) fn recipe(image: &[u8]) -> Vec<u8> {
    const RUN: usize = 64;
    let mut recipe = u32::try_from(image.len()).unwrap_or(0).to_le_bytes().to_vec();
    let mut at = 0;
    for run in image.chunk_by(|one, other| (*one == 0) == (*other == 0)) {
        for piece in run.chunks(RUN).filter(|piece| piece.first() != Some(&0)) {
            recipe.extend(u32::try_from(at).unwrap_or(0).to_le_bytes());
            recipe.extend(u16::try_from(piece.len()).unwrap_or(0).to_le_bytes());
            recipe.extend(piece);
            at += piece.len();
        }
        if run.first() == Some(&0) {
            at += run.len();
        }
    }
    recipe
}

/// An image of `format` arrives: it is judged the same by its whole as by its head, or its head does not say yet.
pub(crate) fn image(format: Format, recipe: &[u8]) {
    let mut image = cook(recipe);
    samples::sum_up(&mut image);
    let whole = inspect_as(&image, format);
    assert!(!matches!(whole, Err(Judgement::NotYet)), "a whole image is judged");
    let head = image.get(..image.len() / 2).unwrap_or_default();
    if inspect_as(&Head { bytes: head }, format).is_ok() {
        assert!(whole.is_ok(), "let in by its head, refused as a whole");
    }
    converted(format, image);
}

/// Its disk is read for a conversion, whether it would be let in or not.
fn converted(format: Format, image: Vec<u8>) {
    let Ok(Some(disk)) = in_pieces(Arc::new(Memory(image)), format) else { return };
    let length = disk.length().unwrap_or(0);
    let mut block = [0; 4096];
    for at in [0, 65_536, 2 << 20, length / 2, length.saturating_sub(4096)] {
        let _ = disk.read_at(at, &mut block);
    }
}

struct Memory(Vec<u8>);

impl File for Memory {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let from = self.0.get(start..).unwrap_or_default();
        let length = from.len().min(into.len());
        into[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_length(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A zip archive arrives: unpacking never panics, in one piece or in many.
pub(crate) fn zip(bytes: &[u8]) {
    for step in [bytes.len().max(1), 7] {
        let Ok(mut unpacker) = unpacker(bytes) else { return };
        let mut out = |_| Ok::<(), UnpackError>(());
        let pushed = bytes.chunks(step).try_for_each(|piece| unpacker.push(piece, &mut out));
        let _ = pushed.and_then(|()| unpacker.finish(&mut out));
    }
}

/// A zstd stream arrives: following it never panics, and from every place that is told the rest is unpacked as from the start.
pub(crate) fn zstd(bytes: &[u8]) {
    let Ok(whole) = unpacked(Unpacker::new(Compression::Zstd, bytes, ZSTD_MEMORY), bytes) else {
        // it may be followed all the same, as while it arrives
        places(bytes, &mut |_, _| {});
        return;
    };
    places(bytes, &mut |place, at| {
        let before = begun(&bytes[..at]);
        let window = usize::try_from(place.window()).unwrap_or(usize::MAX).min(before.len());
        let window = &before[before.len() - window..];
        let rest = unpacked(Unpacker::resume(place, window, ZSTD_MEMORY), &bytes[at..]);
        let rest = rest.unwrap_or_else(|error| panic!("entered at {at}: {error:?}"));
        assert!([before.as_slice(), &rest].concat() == whole, "entered at {at}");
    });
}

/// Window that a stream of zstd may have, and most bytes that are unpacked of it.
const ZSTD_MEMORY: u64 = 8 << 20;

fn places(bytes: &[u8], told: &mut dyn FnMut(&Place, usize)) {
    let (mut scanner, mut at) = (Scanner::default(), 0);
    while at < bytes.len() {
        scanner.want();
        let (length, place) = scanner.scan(&bytes[at..]);
        assert!(length > 0, "it does not go on at {at}");
        at += length;
        if let Some(place) = place {
            told(&place, at);
        }
    }
}

fn unpacked(unpacker: Result<Unpacker, UnpackError>, bytes: &[u8]) -> Result<Vec<u8>, UnpackError> {
    let (mut unpacker, mut all) = (unpacker?, Vec::new());
    unpacker.push(bytes, &mut |some| taken(&mut all, &some))?;
    unpacker.finish(&mut |some| taken(&mut all, &some))?;
    Ok(all)
}

/// What is unpacked of the beginning of a stream.
fn begun(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let Ok(mut unpacker) = Unpacker::new(Compression::Zstd, bytes, ZSTD_MEMORY) else { return all };
    let pushed = unpacker.push(bytes, &mut |some| taken(&mut all, &some));
    let _ = pushed.and_then(|()| unpacker.drain(&mut |some| taken(&mut all, &some)));
    all
}

fn taken(all: &mut Vec<u8>, some: &[u8]) -> Result<(), UnpackError> {
    all.extend_from_slice(some);
    let limit = ZSTD_MEMORY;
    let needs = all.len() as u64;
    let compression = Compression::Zstd;
    if needs > limit { Err(UnpackError::Memory { compression, needs, limit }) } else { Ok(()) }
}

fn unpacker(bytes: &[u8]) -> Result<Unpacker, UnpackError> {
    Unpacker::new(Compression::Zip, bytes, 1 << 20)
}
