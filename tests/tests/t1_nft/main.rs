//! The typed nft model against the real kernel: what is loaded is listed back as equal, whatever the expression, and a
//! change touches what differs and nothing else.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly anywhere, its helpers included

mod agree;
mod chains;
mod echo;
mod everything;
mod foreign;
mod sets;
mod world;
