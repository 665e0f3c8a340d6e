//! A boot document from outside: decoding never panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_api::boot::BootDocument;

fuzz_target!(|bytes: &[u8]| {
    let _ = BootDocument::decode(bytes);
});
