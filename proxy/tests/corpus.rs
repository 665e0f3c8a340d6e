//! The corpora of the fuzz targets, replayed where no fuzzer is.

#![allow(clippy::expect_used, clippy::indexing_slicing)] // helpers of tests

#[path = "../../fuzz/harness/rfb.rs"]
mod rfb;
#[path = "../../fuzz/harness/websocket.rs"]
mod websocket;

use std::path::Path;

/// Gives every input of a target to `take`, whole and cut anywhere.
fn replay(target: &str, least: usize, take: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let bytes = std::fs::read(entry.expect("a file").path()).expect("a readable file");
        for length in 0..=bytes.len() {
            take(&bytes[..length]);
        }
        inputs += 1;
    }
    assert!(inputs >= least, "{inputs} inputs of {target}");
}

#[test]
fn nothing_that_rfb_peers_say_breaks_a_promise() {
    replay("rfb_handshake", 10, rfb::bytes);
}

#[test]
fn nothing_that_browsers_say_on_a_websocket_breaks_a_promise() {
    replay("console_websocket", 10, websocket::bytes);
}
