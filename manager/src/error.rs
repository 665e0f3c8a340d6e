//! What can go wrong with a request, and how it is told: one JSON form with code, message, field and hint.
//!
//! Guarantees: an error means that nothing was changed. `exhausted` (a pool is empty) and `conflict` (somebody else has
//! it) are different, because the one calls for more addresses and the other for another choice.

use serde::{Deserialize, Serialize};
use sluice_api::{Finding, Severity};
use thiserror::Error;
use utoipa::ToSchema;

use crate::code::ErrorCode;
use crate::push::PushError;

/// Why a request was refused or failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The body is not what was asked for; all that is wrong with it (400 when it is not JSON, else 422).
    #[error("the request cannot be read: {}", first(.0))]
    Malformed(Vec<Finding>),
    /// A value breaks a rule that needs more than itself to judge (422).
    #[error("{field}: {reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// The rule that it breaks.
        reason: String,
    },
    /// A description states another value for what cannot change (422).
    #[error("{field}: {reason}")]
    Fixed {
        /// The field.
        field: String,
        /// What it is, and what to do.
        reason: String,
    },
    /// Things in a description are wrong; all of them (the status of the first).
    #[error("the description cannot be applied: {}", first(findings))]
    Description {
        /// The kind of error, if all are of one kind, else `invalid`.
        code: ErrorCode,
        /// Each with the object's name and its place in the description.
        findings: Vec<Finding>,
    },
    /// There is no such object (404).
    #[error("there is no {kind} {name}")]
    NotFound {
        /// Kind of object.
        kind: &'static str,
        /// How it was called.
        name: String,
    },
    /// A name fits several objects (409).
    #[error("{kind} {name} is ambiguous: {candidates}")]
    Ambiguous {
        /// Kind of object.
        kind: &'static str,
        /// How it was called.
        name: String,
        /// Ids of what it fits.
        candidates: String,
    },
    /// Somebody else has what was asked for (409). Another choice can help.
    #[error("{field}: {reason}")]
    Conflict {
        /// The field.
        field: &'static str,
        /// What is taken.
        reason: String,
    },
    /// Others depend on it (409).
    #[error("{kind} {name} is in use: {by}")]
    InUse {
        /// Kind of object.
        kind: &'static str,
        /// How it is called.
        name: String,
        /// By what.
        by: String,
    },
    /// Nothing is left in a pool (507). Giving something back or widening the pool helps.
    #[error("{pool} is exhausted")]
    Exhausted {
        /// The pool in words.
        pool: String,
    },
    /// The request id was used before for something else (409).
    #[error("request id {id} was used before with other content")]
    RequestReused {
        /// The id.
        id: String,
    },
    /// What would change is not what was expected (409).
    #[error("what would change is not what was shown: somebody changed the cloud meanwhile")]
    Moved,
    /// The object is not as it was when it was looked at (412).
    #[error("{kind} {name} was changed meanwhile: it has version {version}")]
    Changed {
        /// Kind of object.
        kind: &'static str,
        /// How it is called.
        name: String,
        /// Which version it has.
        version: i64,
    },
    /// The configuration that would follow is not sound (422).
    #[error("the router's configuration would be refused: {}", first(.0))]
    Rejected(Vec<Finding>),
    /// The appliance could not be asked (502).
    #[error("appliance {appliance} cannot be asked")]
    Appliance {
        /// Which one.
        appliance: String,
        /// Why.
        #[source]
        source: PushError,
    },
    /// The appliance refused the request: busy (503) or at fault (422), else it failed (502).
    #[error("appliance {appliance} refused: {}", first(findings))]
    Refused {
        /// Which one.
        appliance: String,
        /// HTTP status of its answer.
        status: u16,
        /// Its reasons.
        findings: Vec<Finding>,
    },
    /// The store is busy beyond patience (503) or failed (500).
    #[error("the store failed")]
    Store(#[from] sqlx::Error),
    /// The store holds something that this build does not understand (500).
    #[error("the store holds an unreadable {what}: {reason}")]
    Corrupt {
        /// Column or document.
        what: &'static str,
        /// Why it cannot be read.
        reason: String,
    },
    /// Certificates could not be made (500).
    #[error("the certificate authority failed")]
    Authority(#[from] crate::ca::CaError),
}

fn first(findings: &[Finding]) -> String {
    leading(findings).map_or_else(|| "no reason given".to_owned(), bare)
}

/// A finding without its weight, which a refusal has anyway.
pub(crate) fn bare(Finding { path, reason, code, .. }: &Finding) -> String {
    let path = if path.is_empty() { "document" } else { path };
    format!("{path}: {reason} [{code}]")
}

/// The finding that a refusal tells before all others: what has it refused, not what is worth a look besides.
pub(crate) fn leading(findings: &[Finding]) -> Option<&Finding> {
    let error = findings.iter().find(|finding| finding.severity == Severity::Error);
    error.or_else(|| findings.first())
}

/// An error as it is sent: HTTP status apart, programs match `code`, people read `message` and `hint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable word: malformed, invalid, not-found, ambiguous, conflict, in-use, exhausted, request-reused, moved, rejected,
    /// too-large, unreachable, appliance, busy, unauthorized, forbidden, changed, internal.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// The field at fault, as a path into the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// All that is wrong, when it is more than one thing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

impl Error {
    /// Why the appliance did not do what it was asked to.
    pub fn of_appliance(appliance: &str, source: PushError) -> Self {
        let appliance = appliance.to_owned();
        match source {
            PushError::Refused { status, findings, .. } => {
                Self::Refused { appliance, status, findings }
            }
            source => Self::Appliance { appliance, source },
        }
    }

    /// What kind of error it is.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(findings) if findings.iter().any(|f| f.code == "syntax") => {
                ErrorCode::Malformed
            }
            Self::Malformed(_) | Self::Invalid { .. } | Self::Fixed { .. } => ErrorCode::Invalid,
            Self::Description { code, .. } => *code,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Ambiguous { .. } => ErrorCode::Ambiguous,
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::InUse { .. } => ErrorCode::InUse,
            Self::Exhausted { .. } => ErrorCode::Exhausted,
            Self::RequestReused { .. } => ErrorCode::RequestReused,
            Self::Moved => ErrorCode::Moved,
            Self::Changed { .. } => ErrorCode::Changed,
            Self::Rejected(_) => ErrorCode::Rejected,
            Self::Appliance { .. } => ErrorCode::Unreachable,
            Self::Refused { status: 422, .. } => ErrorCode::Invalid,
            Self::Refused { status: 503, .. } => ErrorCode::Busy,
            Self::Refused { .. } => ErrorCode::Appliance,
            Self::Store(error) if crate::store::is_busy(error) => ErrorCode::Busy,
            Self::Store(_) | Self::Corrupt { .. } | Self::Authority(_) => ErrorCode::Internal,
        }
    }

    /// The HTTP status that carries it.
    pub fn status(&self) -> u16 {
        self.code().status()
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Malformed(_) => "the OpenAPI document at /v1/openapi.json has every field",
            Self::NotFound { .. } => "the list call of this kind shows what there is",
            Self::Ambiguous { .. } => "use the id",
            // the reason says what can be done
            Self::Conflict { field: "state" | "copy_of", .. } => return None,
            Self::Conflict { .. } => "choose another, or leave it out to have a free one allocated",
            Self::InUse { .. } => "delete what depends on it first",
            Self::Exhausted { .. } => {
                "delete what is no longer needed, or add or widen a range or a bound"
            }
            Self::RequestReused { .. } => "use a new Idempotency-Key for a new request",
            Self::Moved => "nothing was changed; look at the difference again",
            Self::Changed { .. } => "look at it again, and send the ETag that comes with it",
            Self::Description { .. } => "nothing was changed; mend all of them and apply again",
            Self::Appliance { .. } => {
                "see `sluice status`; is the machine up, and is its endpoint right?"
            }
            Self::Store(_) | Self::Refused { .. } if self.code() == ErrorCode::Busy => {
                "try again in a moment"
            }
            Self::Refused { .. } => "docs/findings.md says what each code means and what to do",
            Self::Invalid { .. }
            | Self::Fixed { .. }
            | Self::Rejected(_)
            | Self::Store(_)
            | Self::Corrupt { .. }
            | Self::Authority(_) => return None,
        })
    }

    /// The error as it is sent. Causes inside the manager are logged, not told.
    pub fn problem(&self) -> Problem {
        let (field, findings) = match self {
            Self::Malformed(findings)
            | Self::Rejected(findings)
            | Self::Description { findings, .. }
            | Self::Refused { findings, .. } => {
                (leading(findings).map(|finding| finding.path.clone()), findings.clone())
            }
            Self::Invalid { field, .. } | Self::Conflict { field, .. } => {
                (Some((*field).to_owned()), Vec::new())
            }
            Self::Fixed { field, .. } => (Some(field.clone()), Vec::new()),
            _ => (None, Vec::new()),
        };
        let message = match self {
            Self::Appliance { source, .. } => format!("{self}: {}", crate::push::chain(source)),
            _ => self.to_string(),
        };
        let hint = self.hint().map(str::to_owned);
        let field = field.filter(|field| !field.is_empty());
        Problem { code: self.code().word().to_owned(), message, field, hint, findings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_of_a_refusal_is_that_of_an_error() {
        let warning = Finding::warning("links[0].mtu", "narrow", "is small");
        let error = Finding::error("networks[0].cidr", "overlap", "overlaps another");
        let problem = Error::Rejected(vec![warning.clone(), error]).problem();
        assert_eq!(problem.field.as_deref(), Some("networks[0].cidr"));
        assert!(problem.message.contains("networks[0].cidr"), "{}", problem.message);
        let problem = Error::Rejected(vec![warning]).problem();
        assert_eq!(problem.field.as_deref(), Some("links[0].mtu"));
    }
}
