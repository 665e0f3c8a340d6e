//! A disk image declared as vmdk: inspecting it never panics.

#![no_main]

#[path = "../harness/image.rs"]
mod image;

use sluice_ssvm::image::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image::image(Format::Vmdk, bytes));
