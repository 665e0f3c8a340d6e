//! What every appliance runs: boot identity, the transaction engine, the API, supervision of services.
//!
//! Guarantees: a configuration takes effect whole or not at all; whatever happens, the appliance ends on the old
//! configuration or the new one; nothing here panics on input. Not here: what a configuration means, which is the
//! appliance's own crate ([`Appliance`]).

mod appliance;
pub mod blobs;
pub mod boot;
mod causes;
mod clock;
mod diagnostics;
pub mod engine;
pub mod fragment;
mod guard;
pub mod host;
pub mod ledger;
pub mod logs;
pub mod metrics;
pub mod pid1;
pub mod plan;
pub mod questions;
mod run;
pub mod server;
pub mod service;
pub mod supervisor;
mod usage;

pub use appliance::{Appliance, Configuration, Seen, ServiceName, ServiceSlice};
pub use blobs::Blobs;
pub use diagnostics::{echo, read_packets};
pub use run::{Options, run};
pub use service::ServiceSpec;
