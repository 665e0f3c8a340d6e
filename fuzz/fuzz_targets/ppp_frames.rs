//! PPP frames of a client: reading them never panics, and the link ends.

#![no_main]

#[path = "../harness/vpn.rs"]
mod vpn;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vpn::frames(bytes));
