//! Places inside a zstd frame where decoding can begin anew: what makes a packed import resumable without keeping its bytes.
//!
//! A block needs nothing of what came before but the window (which is the end of the image so far, on the disk already),
//! three repeated offsets, and the tables that it may use again. Those are gathered here while the stream goes by, and are
//! given to the decoder as a dictionary (RFC 8878 5), whose form has exactly these parts. The stream is parsed, not decoded:
//! of one block in many megabytes the sequences are read, to know the repeated offsets after it.
//!
//! Guarantees: what cannot be parsed ends the search for places and nothing else; the decoder judges the stream by itself.

mod bits;
mod blocks;
mod fse;
mod restart;
mod scan;
mod sequences;

pub use restart::Place;
pub use scan::Scanner;

/// First bytes of a frame (RFC 8878 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

#[cfg(test)]
mod tests;
