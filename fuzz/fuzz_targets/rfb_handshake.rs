//! What VNC servers and browsers say: reading it never panics, asks for little, and gives nothing away.

#![no_main]

#[path = "../harness/rfb.rs"]
mod rfb;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rfb::bytes(bytes));
