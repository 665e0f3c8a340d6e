//! Logs kept in RAM and shown on the console: an appliance has no disk for them and no shell to read them.
//!
//! Guarantees: bounded in entries and in bytes; entries are numbered without gaps, so a reader knows what it missed; a
//! log line never waits for a reader. Not here: what may be logged. Secrets have a type that prints as hidden.

mod layer;
mod ring;

use std::sync::Arc;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

pub use layer::RingLayer;
pub use ring::LogRing;

/// Sends everything that this process logs from now on to the ring, and from "info" on to standard output, which is the
/// console. Errors when the process has a subscriber already.
pub fn install() -> Result<Arc<LogRing>, TryInitError> {
    let ring = Arc::new(LogRing::default());
    let console = tracing_subscriber::fmt::layer()
        .compact()
        .with_ansi(false)
        .with_target(false)
        .without_time();
    tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(RingLayer::new(Arc::clone(&ring)))
        .with(console)
        .try_init()?;
    Ok(ring)
}
