//! Why an image is not let in.

use std::io;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::bytes::Gap;

/// Kinds of refusal, stable names for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// A page of the web (login, error, choice of mirrors) stands where the image should be.
    WebPage,
    /// Plain text.
    Text,
    /// Nothing at all, or too little for a disk.
    TooSmall,
    /// Still compressed after unpacking once, or compressed inside an archive.
    Compressed,
    /// A format that is known and not let in.
    Unsupported,
    /// Declared as one format, found to be another.
    FormatMismatch,
    /// Names a backing file.
    BackingFile,
    /// Keeps its data in another file.
    ExternalData,
    /// Is a difference to a parent.
    Parent,
    /// Names extents in other files.
    ExternalExtent,
    /// A name in an archive or description that leads elsewhere, or a member that is no plain file.
    ArchivePath,
    /// Encrypted: nobody could inspect what is inside.
    Encrypted,
    /// Needs a feature that is not known here.
    UnknownFeature,
    /// Was not closed properly and must be repaired by its own tool first.
    Dirty,
    /// Contradicts itself or the format's specification.
    Malformed,
    /// Ends before what its header promises.
    Truncated,
    /// The guest's disk would be larger than allowed.
    VirtualSize,
}

/// An image is not let in. Never worth a retry: the same bytes are refused again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{detail}")]
pub struct Refusal {
    /// The kind.
    pub code: RefusalCode,
    /// What exactly, for a human.
    pub detail: String,
}

impl Refusal {
    /// A refusal of kind `code`.
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// Why there is no inspection.
#[derive(Debug, Error)]
pub enum Judgement {
    /// More of the image must arrive first.
    #[error("more of the image is needed to judge it")]
    NotYet,
    /// It is not let in.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be read.
    #[error("the image cannot be read")]
    Io(#[source] io::Error),
}

impl From<Gap> for Judgement {
    fn from(gap: Gap) -> Self {
        match gap {
            Gap::NotYet => Self::NotYet,
            Gap::Past => {
                let detail = "the image ends before what its header promises";
                Refusal::new(RefusalCode::Truncated, detail).into()
            }
            Gap::Io(error) => Self::Io(error),
        }
    }
}

/// `Err` with a refusal, for the ends of checks.
pub(super) fn refuse<T>(code: RefusalCode, detail: impl Into<String>) -> Result<T, Judgement> {
    Err(Refusal::new(code, detail).into())
}

/// Refuses as malformed unless `sound`.
pub(super) fn ensure(sound: bool, detail: &str) -> Result<(), Judgement> {
    if sound { Ok(()) } else { refuse(RefusalCode::Malformed, detail) }
}
