//! Appliance configurations: whole, immutable, versioned and numbered (design section 2).
//!
//! One folder per released version; every other crate uses what is re-exported here, which is the latest. Old versions
//! convert forward inside this crate only.

mod v2;

pub use v2::*;
