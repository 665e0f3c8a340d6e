//! Decompression of what is imported: bytes in, blocks out, nothing waits here.
//!
//! Guarantees: every member of a concatenated stream is unpacked (gzip members, xz streams, bzip2 streams, zstd frames); a
//! stream that ends early or is followed by anything else is an error; checksums of the formats are tested. Memory stays
//! within a limit that is tested before anything is unpacked. How much comes out is the caller's to bound: it sees each
//! block before the next is made.

mod codec;
mod needs;
mod zip;
mod zstd;

use std::fmt;
use std::io;

use async_compression::codecs::{BzDecoder, DecodeV2, GzipDecoder, XzDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use zstd::{Place, Scanner};

use codec::Members;
use zip::Zip;

/// How a source is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// The .xz format 1.1.
    Xz,
    /// RFC 8878.
    Zstd,
    /// A zip archive with one member.
    Zip,
}

/// Bytes of a source's beginning that [`sniff`] and [`Unpacker::new`] want to see, unless the source is shorter.
pub const HEAD: usize = 64;
/// Most bytes in one block that comes out.
pub const BLOCK: usize = 1 << 20;

const MAGIC: [(&[u8], Compression); 5] = [
    (b"\x1f\x8b\x08", Compression::Gzip),
    (b"BZh", Compression::Bzip2),
    (b"\xfd7zXZ\0", Compression::Xz),
    (b"\x28\xb5\x2f\xfd", Compression::Zstd),
    (b"PK\x03\x04", Compression::Zip),
];
/// First magic number of zstd's skippable frames (RFC 8878 3.1.2), which tools such as pzstd begin with.
const SKIPPABLE: u32 = 0x184d_2a50;

/// How a source that begins with `head` is compressed; none when it is not.
pub fn sniff(head: &[u8]) -> Option<Compression> {
    let skippable = head.first_chunk().is_some_and(|m| u32::from_le_bytes(*m) & !0xf == SKIPPABLE);
    let found = MAGIC.into_iter().find(|(magic, _)| head.starts_with(magic));
    found.map(|(_, compression)| compression).or(skippable.then_some(Compression::Zstd))
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Zip => "zip",
        })
    }
}

/// Why a source cannot be unpacked. None gets better by trying the same bytes again.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The window or dictionary is larger than the limit.
    #[error("{compression} needs {} MiB of memory, limit {} MiB", needs.div_ceil(MIB), limit / MIB)]
    Memory {
        /// How it is compressed.
        compression: Compression,
        /// What it needs, in bytes.
        needs: u64,
        /// What it may have, in bytes.
        limit: u64,
    },
    /// The bytes are not what the format says.
    #[error("the {compression} data are broken")]
    Broken {
        /// How it is compressed.
        compression: Compression,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// The end is missing.
    #[error("the {compression} data end too early")]
    CutOff {
        /// How it is compressed.
        compression: Compression,
    },
    /// A zip archive that is not one plain member.
    #[error("zip archive: {0}")]
    Zip(&'static str),
    /// It needs something besides itself, such as a dictionary.
    #[error("the {compression} data need {what}")]
    Needs {
        /// How it is compressed.
        compression: Compression,
        /// What is missing.
        what: &'static str,
    },
}

const MIB: u64 = 1 << 20;

/// Unpacks one source.
pub struct Unpacker {
    compression: Compression,
    inner: Inner,
}

enum Inner {
    Members(Members),
    Zip(Zip),
}

impl Unpacker {
    /// For a source that begins with `head` and may take `memory` bytes to unpack.
    ///
    /// Errors: it needs more memory, or something besides itself.
    pub fn new(compression: Compression, head: &[u8], memory: u64) -> Result<Self, UnpackError> {
        needs::fits(compression, head, memory)?;
        let members =
            |decoder: Box<dyn DecodeV2 + Send>| Inner::Members(Members::new(compression, decoder));
        let inner = match compression {
            Compression::Gzip => members(Box::new(GzipDecoder::new())),
            Compression::Bzip2 => members(Box::new(BzDecoder::new())),
            // beside the dictionary the decoder has its tables
            Compression::Xz => members(Box::new(XzDecoder::with_memlimit(memory + MIB))),
            Compression::Zstd => members(Box::new(plain_zstd(memory))),
            Compression::Zip => Inner::Zip(Zip::new()),
        };
        Ok(Self { compression, inner })
    }

    /// Goes on in a zstd frame at `place`, where `window` are the last bytes that were unpacked before it.
    ///
    /// Errors: the decoder does not take them.
    pub fn resume(place: &Place, window: &[u8], memory: u64) -> Result<Self, UnpackError> {
        let compression = Compression::Zstd;
        let broken = |source| UnpackError::Broken { compression, source };
        let decoder = ZstdDecoder::new_with_dict(&place.dictionary(window)).map_err(broken)?;
        let next = move || -> Box<dyn DecodeV2 + Send> { Box::new(plain_zstd(memory)) };
        let mut members = Members::resume(Box::new(decoder), place, Box::new(next));
        members.push(&place.header(), &mut |_| Ok::<(), UnpackError>(()))?;
        Ok(Self { compression, inner: Inner::Members(members) })
    }

    /// Gives everything to `out` that was unpacked so far, down to the last byte.
    ///
    /// Errors: those of `out`.
    pub fn drain<E: From<UnpackError>>(
        &mut self,
        out: &mut impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.inner {
            Inner::Members(members) => members.drain(out),
            Inner::Zip(_) => Ok(()),
        }
    }

    /// How the source is compressed.
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// Takes the next bytes of the source and gives what comes of them to `out`, in blocks of at most [`BLOCK`] bytes.
    ///
    /// Errors: those of unpacking, and those of `out`, after either of which this is of no more use.
    pub fn push<E: From<UnpackError>>(
        &mut self,
        input: &[u8],
        out: &mut impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.inner {
            Inner::Members(members) => members.push(input, out),
            Inner::Zip(zip) => zip.push(input, out),
        }
    }

    /// Says that the source is at its end and gives the last block to `out`.
    ///
    /// Errors: as [`Unpacker::push`]; the source ended too early.
    pub fn finish<E: From<UnpackError>>(
        &mut self,
        out: &mut impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.inner {
            Inner::Members(members) => members.finish(out),
            Inner::Zip(zip) => zip.finish(out),
        }
    }
}

fn plain_zstd(memory: u64) -> ZstdDecoder {
    ZstdDecoder::new_with_params(&[DParameter::window_log_max(needs::window_log(memory))])
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::semicolon_if_nothing_returned)]
// numbers of a test
mod tests;
