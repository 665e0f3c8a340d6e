//! What only a console proxy has.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The part of a console proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {}
