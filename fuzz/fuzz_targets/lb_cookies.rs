//! Cookie and Set-Cookie fields: found, hidden and changed without a panic.

#![no_main]

#[path = "../harness/lb.rs"]
mod lb;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb::cookies(bytes));
