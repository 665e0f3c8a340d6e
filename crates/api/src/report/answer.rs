//! Answers to a pushed configuration.
//!
//! Read tolerantly, as reports are; what is asked of an appliance is read strictly.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{BlobDigest, Generation};
use crate::{Digest, Finding};

/// What became of a pushed configuration. HTTP status in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// In force and verified; it reverts unless confirmed in time (200).
    Applied {
        /// The generation now in force.
        generation: Generation,
        /// What was changed.
        plan: PlanSummary,
        /// How long it took.
        timing: Timing,
        /// Seconds left to confirm; `None` when no confirmation was asked for.
        confirm_within: Option<u32>,
        /// Warnings about the configuration.
        findings: Vec<Finding>,
    },
    /// This generation with this content is in force already (200).
    Already {
        /// The generation in force.
        generation: Generation,
    },
    /// A newer generation is in force (409).
    Stale {
        /// The generation in force.
        current: Generation,
    },
    /// This generation was seen before with other content (409).
    Changed {
        /// The generation in question.
        generation: Generation,
        /// Digest of what was seen first.
        seen: Digest,
        /// Digest of what came now.
        sent: Digest,
    },
    /// Another configuration is being applied or waits for its confirmation; retry later (503).
    Busy(Busy),
    /// It names blobs that are not here; nothing was touched (409). To be sent, and then this again.
    MissingBlobs {
        /// Which ones.
        blobs: Vec<BlobDigest>,
    },
    /// Refused before anything was touched (422; a body that is too large: 413).
    Rejected {
        /// All that is wrong with it.
        findings: Vec<Finding>,
    },
    /// Applying failed (500).
    Failed {
        /// The step that failed and why.
        reason: String,
        /// True when the last good configuration is verified to be in force again; false is an alarm.
        rolled_back: bool,
        /// The generation in force now, if any.
        current: Option<Generation>,
    },
    /// An answer of a newer appliance.
    #[serde(other)]
    Unknown,
}

/// Why a push has to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Busy {
    /// The generation that is under way.
    pub generation: Generation,
    /// What it waits for.
    pub reason: String,
}

/// A plan in numbers and words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanSummary {
    /// One line per step, in order of execution, as an operator reads it.
    pub steps: Vec<String>,
    /// Kernel objects and services that stay as they are.
    pub unchanged: u64,
}

/// Where the time of a push went, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Timing {
    /// Reading the kernel.
    pub observe_us: u64,
    /// Comparing, dry run included.
    pub plan_us: u64,
    /// Changing.
    pub apply_us: u64,
    /// Reading the kernel again and comparing.
    pub verify_us: u64,
    /// All of it, from decoded body to committed or pending.
    pub total_us: u64,
}

/// The answer to `PUT /v1/config?dry_run=true`: what would happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DryRun {
    /// The steps.
    pub plan: PlanSummary,
    /// Warnings and errors; with an error the plan is empty.
    pub findings: Vec<Finding>,
}

/// Body of `POST /v1/config/confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The generation that the manager has reached the appliance on.
    pub generation: Generation,
}

/// What became of a confirmation. HTTP status in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum ConfirmAnswer {
    /// Committed, now or before (200).
    Committed {
        /// The generation.
        generation: Generation,
    },
    /// That generation does not wait for a confirmation (409).
    NotPending {
        /// The generation in force, if any.
        current: Option<Generation>,
    },
    /// It still waits for its confirmation, but could not be committed (500); worth trying again until it reverts.
    Failed {
        /// Why.
        reason: String,
    },
    /// An answer of a newer appliance.
    #[serde(other)]
    Unknown,
}
