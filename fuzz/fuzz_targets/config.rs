//! A router configuration from outside: decoding and checking never panic, and what is accepted survives a round trip.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_api::RouterConfig;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((config, _)) = RouterConfig::decode(bytes) {
        let again = serde_json::to_vec(&config).map(|bytes| RouterConfig::decode(&bytes));
        assert!(matches!(again, Ok(Ok((same, _))) if same == config));
    }
});
