//! A guest's message on port 53: reading and answering never panic, and the answer fits the client.

#![no_main]

#[path = "../harness/dns.rs"]
mod dns;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dns::query(bytes));
