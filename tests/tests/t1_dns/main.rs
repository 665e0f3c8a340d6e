//! T1: the DNS service with real clients and real upstream resolvers in network namespaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bench;
mod compliance;
mod field;
mod forward;
mod guests;
mod hostile;
mod links;
mod records;
mod scripted;
mod secure;
mod service;
mod swap;
