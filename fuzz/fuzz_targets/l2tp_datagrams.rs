//! Datagrams on port 1701 that came out of IPsec: reading them never panics, and no tunnel or call is left over.

#![no_main]

#[path = "../harness/vpn.rs"]
mod vpn;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vpn::datagrams(bytes));
