//! A browser's side of a WebSocket: reading it never panics, holds little, and lets no viewer type.

#![no_main]

#[path = "../harness/websocket.rs"]
mod websocket;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| websocket::bytes(bytes));
