//! A zip archive from outside: unpacking it never panics.

#![no_main]

#[path = "../harness/image.rs"]
mod image;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image::zip(bytes));
