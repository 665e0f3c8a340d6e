//! The commands on a desk: serve a slice, look at an image, bring one in, make a token.
//!
//! They keep the rights that they were started with; on an appliance the agent starts `service storage`.

mod import;
mod inspect;
mod serve;
mod token;

pub use import::ImportArgs;
pub use inspect::InspectArgs;
pub use serve::ServeArgs;
pub use token::token;

use anyhow::{Context, Result};

/// Runs `work` on a runtime like the service's.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("no runtime can be made")?.block_on(work)
}
