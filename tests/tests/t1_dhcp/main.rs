//! T1: the DHCP server, real packets and real clients in network namespaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bench;
mod clients;
mod field;
mod links;
mod pool;
mod process;
mod raw;
mod rules;
