//! Waiting on conditions, with a bound.

use std::time::{Duration, Instant};

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
