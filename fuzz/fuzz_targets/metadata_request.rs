//! A guest's request for metadata: it is answered, and never with another guest's data.

#![no_main]

#[path = "../harness/metadata.rs"]
mod metadata;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| metadata::request(bytes));
