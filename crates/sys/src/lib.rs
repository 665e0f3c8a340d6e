//! The kernel boundary: the only crate with unsafe code.

pub mod packet;
pub mod tap;
