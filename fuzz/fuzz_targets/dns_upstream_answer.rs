//! An upstream's answer: vetting, keeping and answering from it never panic.

#![no_main]

#[path = "../harness/dns.rs"]
mod dns;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dns::upstream_answer(bytes));
