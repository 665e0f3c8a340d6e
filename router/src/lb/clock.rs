//! One clock for the whole service: milliseconds since its first use, cheap to keep and to compare.

use std::sync::LazyLock;
use std::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the first call. Never 0, which stands for "never".
pub(crate) fn now() -> u64 {
    let elapsed = START.elapsed();
    elapsed.as_secs().saturating_mul(1000).saturating_add(u64::from(elapsed.subsec_millis()) + 1)
}
