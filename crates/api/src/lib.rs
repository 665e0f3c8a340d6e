//! The contract between the manager and its appliances: boot document, configurations, reports and answers.
//!
//! Guarantees: a decoded value is valid on its own; unknown fields are refused; nothing here does I/O, waits or panics
//! on input. Not here: how anything is carried out, which is the appliances' and the manager's business.

mod api_code;
pub mod boot;
pub mod check;
pub mod config;
pub mod decode;
mod digest;
pub mod finding;
pub mod report;
pub mod schema;
pub mod types;

pub use api_code::ApiCode;
pub use config::{ApplianceConfig, RouterDocument};
pub use digest::Digest;
pub use finding::{Finding, Severity};

/// Port of the agent's API on the control link of every appliance.
pub const AGENT_PORT: types::Port = types::Port::fixed(3922);

/// Largest request body that the agent and the manager read, in bytes: 8 MiB, room for some 40,000 guests.
pub const MAX_BODY: usize = 8 * 1024 * 1024;
