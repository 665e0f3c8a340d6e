//! Jobs: what is wanted, how far each is, and what became of it.
//!
//! Guarantees: a job is done once, however often the process, the machine or the store goes away under it; what is known of
//! it is in the journal before it is told to anybody; a finished job stays finished for as long as the configuration names
//! it; one that is no longer wanted leaves no part behind.

mod attempt;
mod engine;
mod failure;
mod import;
mod journal;
mod pause;
mod reading;
mod record;
mod report;
mod shared;
mod stores;
mod upload;

pub use engine::Engine;
pub use failure::Failure;
pub use journal::{Journal, JournalError};
pub use record::{Record, State};
pub use report::{JobReport, Report, StoreReport};
pub use upload::{Piece, Position, Upload, UploadError};

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::semicolon_if_nothing_returned)]
// numbers of a test
mod tests;
