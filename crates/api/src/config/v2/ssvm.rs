//! What only a secondary storage VM has.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The part of a secondary storage VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SsvmConfig {}
