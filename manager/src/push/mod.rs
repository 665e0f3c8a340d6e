//! Pushing configurations to appliances and watching them.
//!
//! [`PushClient`] speaks the agent's API over mutual TLS; [`decide`] is the pure rule of what to do next; the
//! [`Watch`] runs it for every appliance, for as long as the manager lives.

mod act;
mod blobs;
mod client;
mod consoles;
mod decide;
mod exchange;
mod identity;
mod machine;
mod needs;
mod questions;
mod retry;
mod task;
mod tls;
mod trouble;
mod watch;

pub use client::{Look, PushClient};
pub use decide::{Next, Wanted, decide};
pub use exchange::{ExchangeError, PushError, Shown};
pub use retry::Backoff;
pub use tls::ClientIdentity;
pub use watch::{Replaced, Watch, WatchSettings};

/// An error with all its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
