//! What every appliance runs.

pub mod pid1;
