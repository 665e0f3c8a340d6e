//! A router configuration from outside: decoding and checking never panic, and what is accepted survives a round trip.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_api::RouterDocument;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((config, _)) = RouterDocument::decode(bytes) {
        let again = serde_json::to_vec(&config).map(|bytes| RouterDocument::decode(&bytes));
        assert!(matches!(again, Ok(Ok((same, _))) if same == config));
    }
});
