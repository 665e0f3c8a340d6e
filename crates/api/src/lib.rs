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
mod objects;
pub mod report;
pub mod schema;
pub mod types;

pub use api_code::ApiCode;
pub use config::{ApplianceConfig, RouterDocument};
pub use digest::Digest;
pub use finding::{Finding, Severity};

/// Port of the agent's API on the control link of every appliance.
pub const AGENT_PORT: types::Port = types::Port::fixed(3922);

/// Header of a request to an agent in which the manager says what time it is, in Unix milliseconds.
pub const TIME_HEADER: &str = "sluice-time";

/// Largest request body that the agent and the manager read, in bytes as sent: 8 MiB, room for some 40,000 guests, and for
/// ten times as much as gzip.
pub const MAX_BODY: usize = 8 * 1024 * 1024;
/// Largest configuration that a body may unpack to, in bytes: 24 MiB, room for 100,000 rules. An appliance takes an eighth of
/// its memory at most, so that the whole of it takes 256 MiB, and one of 128 MiB takes 16 MiB.
pub const MAX_CONFIG: usize = 24 * 1024 * 1024;
