//! The secondary storage VM: templates, ISOs, volumes and snapshots in and out of stores.

pub mod appliance;
pub mod checksum;
pub mod convert;
pub mod desk;
pub mod disk;
pub mod fetch;
pub mod holes;
mod identity;
pub mod image;
pub mod jobs;
pub mod pass;
pub mod serve;
pub mod service;
pub mod slice;
pub mod store;
pub mod unpack;
