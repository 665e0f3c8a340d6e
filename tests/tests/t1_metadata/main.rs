//! T1: the metadata service and the password server, with clients as guests have them, in network namespaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bench;
mod cloud_init;
mod hostile;
mod password;
mod process;
mod tree;
