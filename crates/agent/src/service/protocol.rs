//! What agent and service say to each other: one JSON object a line.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_api::types::Generation;

/// From the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToService {
    /// Bring this slice into force.
    Configure {
        /// Number of the configuration it is part of.
        generation: Generation,
        /// The slice, in the service's own form.
        slice: Value,
    },
}

/// From the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromService {
    /// The slice of this configuration is in force.
    InForce {
        /// Number of the configuration.
        generation: Generation,
    },
    /// It is not, and the former one still is.
    Refused {
        /// Number of the configuration.
        generation: Generation,
        /// Why.
        reason: String,
    },
    /// What was counted since the start.
    Counters {
        /// By name.
        counters: BTreeMap<String, u64>,
    },
}

/// A message as it goes over the socket.
pub fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}
