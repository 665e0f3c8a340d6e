//! The manager: it holds the cloud's network model, allocates, compiles a configuration for each appliance, pushes it
//! and watches it (design section 2).
//!
//! Order of reading: [`kinds`] the objects, [`ops`] the changes, [`alloc`] and [`store`] what they rest on,
//! [`mod@compile`] from model to configuration, [`push`] to the appliance and back, [`rest`] and [`cli`] the surfaces.

pub mod access;
pub mod alloc;
pub mod ca;
pub mod cli;
pub mod code;
pub mod compile;
pub mod error;
mod hidden;
pub mod kinds;
pub mod model;
pub mod ops;
pub mod push;
pub mod rest;
pub mod serve;
mod ssh;
pub mod store;

pub use error::{Error, Problem};
pub use push::{ClientIdentity, PushClient};
