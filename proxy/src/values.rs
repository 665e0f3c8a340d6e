//! Text values of a slice, which are those of the configuration: valid as soon as they are decoded.

pub use sluice_api::types::{Fingerprint, HostPattern, Origin, PathPrefix, ServerName, TokenHash};
