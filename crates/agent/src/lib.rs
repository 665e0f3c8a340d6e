//! What every appliance runs.

mod appliance;
pub mod ledger;
pub mod pid1;
pub mod plan;
pub mod service;

pub use appliance::{Appliance, Configuration, ServiceName, ServiceSlice};
