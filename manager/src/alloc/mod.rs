//! Allocation as a sans-I/O piece: pools are intervals, and only what is taken is known.
//!
//! Guarantees: the search visits every item of a pool exactly once, from a start that a hash spreads, so that parallel
//! callers rarely meet and a repeated run takes the same way. Not here: the judge, which is the store's primary key.

mod mac;
mod name;
mod pool;

pub use mac::{mac_number, mac_of, random_mac};
pub use name::{PoolClass, PoolName};
pub use pool::{Interval, Pool, seed};
