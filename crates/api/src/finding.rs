//! What is wrong, or doubtful, in a document: all of it at once, each with its path.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One remark about a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Where: field names and indices, such as `networks[0].guests[3].mac`. Empty: the document as a whole.
    pub path: String,
    /// Whether it prevents use.
    pub severity: Severity,
    /// The rule, a stable word that programs can match.
    pub code: String,
    /// What is wrong, for a person.
    pub reason: String,
}

/// Whether a finding prevents use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The document is refused.
    Error,
    /// The document is used; a person should look.
    Warning,
}

impl Finding {
    /// An error at `path`.
    pub fn error(path: impl Into<String>, code: &str, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            severity: Severity::Error,
            code: code.to_owned(),
            reason: reason.into(),
        }
    }

    /// A warning at `path`.
    pub fn warning(path: impl Into<String>, code: &str, reason: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, code, reason) }
    }

    /// True when any of `findings` refuses the document.
    pub fn any_error(findings: &[Self]) -> bool {
        findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let path = if self.path.is_empty() { "document" } else { &self.path };
        write!(f, "{severity}: {path}: {} [{}]", self.reason, self.code)
    }
}
