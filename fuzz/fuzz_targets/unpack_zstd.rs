//! A zstd stream from outside: following and unpacking it never panics, and it can be entered where it is said that it can.

#![no_main]

#[path = "../harness/image.rs"]
mod image;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image::zstd(bytes));
