//! The evaluator: what our tables make of a packet, without a kernel.
//!
//! Guarantees: pure; covers every expression; a packet's path names each rule that it matched. Property tests hold it
//! against real packets in a real kernel.
//! Does not: count, remember packets (a limit is not reached, of several targets it takes the connection's own or the
//! first), reassemble fragments, or know tables that are not given to it.

mod ends;
mod expr;
mod lookup;
mod packet;
mod run;
mod walk;
mod world;

pub use ends::{Flow, Parts, Review, Tuple, World, ends};
pub use packet::{End, Header, Packet, Tracking, Translated};
pub use run::{By, Hit, Translation};
pub use walk::{Ending, Judgement, evaluate};
pub use world::{Choice, Way, Ways};

#[cfg(test)]
mod tests;
