//! What scenarios of the console proxy share: a browser in small, and an authority.

#![allow(clippy::unwrap_used, clippy::new_without_default, clippy::missing_panics_doc)] // test support may fail loudly
#![allow(clippy::missing_errors_doc)] // likewise

pub mod certificates;
pub mod client;

use std::time::Duration;

/// Longest wait for anything; machines are emulated, and others run beside us.
pub const BOUND: Duration = Duration::from_secs(40);

/// The token of the grant `id`.
pub fn token(id: &str) -> String {
    format!("token-{id}")
}
