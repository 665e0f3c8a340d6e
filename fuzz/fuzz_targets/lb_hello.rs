//! The first bytes of a TLS connection, server name included: an answer or an error, never a panic.

#![no_main]

#[path = "../harness/lb.rs"]
mod lb;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb::hello(bytes));
