//! T1: the storage service with real servers and clients: nginx, dnsmasq, curl, qemu-img, xz, zstd.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod bench;
mod broken;
mod download;
mod formats;
mod hostile;
mod kill;
mod network;
mod server;
mod upload;
