//! What agent and service say to each other: one JSON object a line.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_api::Digest;
use sluice_api::report::Verdict;
use sluice_api::types::Generation;

/// From the agent: this is the configuration from now on.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configure<'a> {
    /// Its number.
    pub generation: Generation,
    /// The service's slice of it, in the service's own form; absent when it is the one in force already.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<&'a RawValue>,
}

impl fmt::Debug for Configure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the slice may hold secrets
        let slice = self.slice.map(|slice| Digest::of_bytes(slice.get().as_bytes()));
        f.debug_struct("Configure")
            .field("generation", &self.generation)
            .field("slice", &slice)
            .finish()
    }
}

/// From the agent: what became of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// The question's number, as the service said it.
    pub answered: u64,
    /// What a manager says; absent when none answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// From the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromService {
    /// The first word over a channel to a process that may have served a former agent: what is in force there.
    Serving {
        /// Number of the configuration; none before the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<Generation>,
        /// Digest of the slice as it was sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slice: Option<Digest>,
    },
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
    /// What was counted since the start, and how things are.
    Counters {
        /// By name.
        counters: BTreeMap<String, u64>,
        /// Whatever else is to be shown of it, in a form of its own.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        report: Value,
    },
    /// A question for the manager.
    Asks {
        /// Its number, by which the answer comes.
        id: u64,
        /// What is asked.
        question: Value,
    },
}

/// Longest line that a service says, in bytes; a report that would make it longer is left out. What services read comes
/// from guests, so what they say is bounded as if a guest said it.
pub const MAX_LINE: usize = 1 << 18;

/// A message as it goes over the socket.
pub fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_is_given_is_not_printed() {
        let slice = RawValue::from_string("{\"key\":\"hunter2\"}".to_owned()).unwrap();
        let message = Configure { generation: Generation::MIN, slice: Some(&slice) };
        let printed = format!("{message:?}");
        assert!(printed.contains("slice") && !printed.contains("hunter2"), "{printed}");
    }
}
