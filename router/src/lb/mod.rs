//! Load balancing: connections and requests to one address and port, shared out among servers.
//!
//! Guarantees: a change of the rules resets and refuses no connection that it is not about; a rule without a server
//! that is well refuses at once; a client's bytes are framed in one way only. docs/lb.md tells users the rest.
//!
//! Shape: a rule is a [`Balancer`](sluice_api::config::balancer::Balancer); [`choose`], [`table`], [`http::framing`] and [`proxy_header`] are pure cores,
//! `live` is a rule as it runs, `accept`, `tcp` and [`http`] serve connections, [`server`] changes it all. Threads
//! share no connection: each has its own event loop and its own connections to servers.

mod accept;
pub mod choose;
mod client_io;
mod clock;
mod connect;
mod copy;
pub mod counters;
pub mod desk;
pub mod explain;
mod handover;
pub mod health;
pub mod http;
mod live;
mod memory;
mod park;
pub mod proxy_header;
mod report;
pub mod seen;
pub mod server;
pub mod service;
mod session;
mod slice;
pub mod table;
mod tcp;
pub mod tls;

pub use server::Server;
pub use slice::{LbSlice, slice};
pub use sluice_api::report::balancing::Report;
