//! The service as browsers and VNC servers see it: real sockets on the loopback, scripted peers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod browser;
mod ends;
mod hostile;
mod limits;
mod many;
mod refusals;
mod screen;
mod world;
