//! Why a job cannot be done.

use serde::{Deserialize, Serialize};

use crate::fetch::FetchError;
use crate::pass::PassError;
use crate::store::StoreError;

/// What stopped a job, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Stable name.
    pub code: String,
    /// What exactly, with its causes.
    pub reason: String,
    /// Whether the same job may succeed later.
    pub retry: bool,
}

impl Failure {
    fn new(code: &str, error: &dyn std::error::Error, retry: bool) -> Self {
        Self { code: code.to_owned(), reason: chain(error), retry }
    }
}

/// `error: its cause: the cause of that`.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl From<&FetchError> for Failure {
    fn from(error: &FetchError) -> Self {
        Self::new(error.code(), error, error.worth_a_retry())
    }
}

impl From<&PassError> for Failure {
    fn from(error: &PassError) -> Self {
        Self::new(&error.code(), error, error.worth_a_retry())
    }
}

impl From<&StoreError> for Failure {
    fn from(error: &StoreError) -> Self {
        // the image is to blame, not the store
        if let StoreError::Refused { source, .. } = error {
            return Self::from(&**source);
        }
        Self::new(error.code(), error, error.worth_a_retry())
    }
}
