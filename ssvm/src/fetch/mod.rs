//! Fetching a source over HTTP: bytes in order, from any offset, of one state of the source.
//!
//! Guarantees: only addresses and ports that the policy lets through are connected to, after every look-up and every
//! redirect; no HEAD is sent; a size is not needed but tested as soon as it is known; bytes of two states of a source are
//! never joined where the server tells its states apart; nothing here waits for ever. A query is never printed.
//!
//! Not here: trying again, which is the job's business ([`FetchError::worth_a_retry`] says when that can help).

mod address;
mod client;
mod download;
mod error;
mod incoming;
mod names;
mod parallel;
mod peer;
mod policy;
mod range;
mod resolve;
mod validator;

pub use address::Address;
pub use client::{AUTHORITIES, Fetcher, store_client};
pub use download::Download;
pub use error::FetchError;
pub use peer::peer_address;
pub use policy::{AddressPolicy, AddressRefused};
pub use validator::Validator;
