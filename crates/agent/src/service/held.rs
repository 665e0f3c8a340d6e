//! What is in force in a service, as the next agent is told it.

use serde_json::value::RawValue;
use sluice_api::Digest;
use sluice_api::types::Generation;

use super::protocol::FromService;

/// Number of the configuration in force, and the digest of its slice.
#[derive(Debug, Default)]
pub(super) struct Held(Option<(Generation, Digest)>);

impl Held {
    /// Configuration `generation` is in force; without a slice it is that of the one before.
    pub(super) fn note(&mut self, generation: Generation, slice: Option<&RawValue>) {
        match (&mut self.0, slice) {
            (held, Some(slice)) => {
                *held = Some((generation, Digest::of_bytes(slice.get().as_bytes())));
            }
            (Some((number, _)), None) => *number = generation,
            (None, None) => {}
        }
    }

    /// The first word to an agent.
    pub(super) fn said(&self) -> FromService {
        let (generation, slice) = self.0.clone().unzip();
        FromService::Serving { generation, slice }
    }
}
