//! A client's HTTP/1 stream: its requests are cut out of it in one way only.

#![no_main]

#[path = "../harness/lb.rs"]
mod lb;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb::framing(bytes));
