//! Remote access: the L2TP server with its users and addresses.
//!
//! Guarantees: [`Server`] is pure: datagrams, frames and time in, actions out; each call has at most one user and one
//! address, no address has two calls, and everything that a call holds is given back when it ends, however it ends. A new
//! slice ends the calls that it no longer allows and touches no other.
//! Not here: sockets and the kernel's data path, which are the service's.

mod access;
pub mod inform;
mod path;
mod server;
pub mod service;
mod slice;

pub use server::{Action, Server, SessionReport};
pub use slice::{AccessSlice, LnsSlice, UserSlice, slice};

#[cfg(test)]
mod tests;
