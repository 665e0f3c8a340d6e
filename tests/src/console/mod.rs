//! What scenarios of the console proxy share: a browser in small, machines with screens, and who signs for them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::new_without_default,
    clippy::missing_panics_doc
)] // test support may fail loudly
#![allow(clippy::missing_errors_doc)] // likewise

pub mod certificates;
pub mod client;
pub mod cloud;
pub mod lab;
pub mod qemu;
pub mod rfb;
pub mod viewer;

use std::time::Duration;

/// Longest wait for anything; machines are emulated, a browser loads some fifty scripts, and others run beside us.
pub const BOUND: Duration = Duration::from_secs(90);

/// The token of the grant `id`.
pub fn token(id: &str) -> String {
    format!("token-{id}")
}
