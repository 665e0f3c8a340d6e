//! The name service of a router: the guests' own names, reverse names, and everything else through the zone's resolvers.
//!
//! Guarantees: answers only guests, only on their gateway; names of the guest domain never leave the router and never
//! depend on an upstream; a change of configuration loses no query. docs/dns.md tells users what is answered how.
//!
//! Shape: [`answer`] is the core, bytes in and bytes out; [`server`] puts sockets and threads around it; [`forward`]
//! asks upstreams. Messages are handled as bytes throughout: answers are encoded when a zone is built, and upstreams'
//! answers pass with their record data untouched, which a decoded and re-encoded message cannot promise (unknown types,
//! DNSSEC) and which is several times cheaper (docs/decisions/0005-dns-answers-as-bytes.md).

pub mod answer;
mod attempt;
pub mod cache;
mod carry;
pub mod counters;
pub mod desk;
mod exchange;
pub mod forward;
mod habits;
mod health;
mod limit;
mod line;
mod listen;
mod message;
mod name;
mod places;
mod proof;
mod query;
mod reply;
pub mod server;
pub mod service;
mod slice;
pub mod snapshot;
mod special;
pub mod stored;
mod tcp;
mod terms;
mod udp;
mod upstream;
mod wildcard;
mod wire;
mod zone;

pub use reply::Transport;
pub use server::{Report, Server};
pub use slice::{DnsForward, DnsHost, DnsNetwork, DnsSlice, Listen, PORT, Settings, slice};
