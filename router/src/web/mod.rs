//! HTTP towards guests, under the metadata and the password service.
//!
//! Guarantees: only a guest is answered, and only on its own link: known by its address *and* by the MAC address that the
//! answer goes to; memory and time of each connection are bounded, and so is their number, of which one guest cannot take
//! the others' share. Not here: what is answered (a [`Site`]), and who may use a MAC address, which is the hypervisor's
//! anti-spoofing.

mod answer;
mod connection;
mod counters;
pub(crate) mod desk;
mod directory;
mod listeners;
mod seats;

pub(crate) use answer::{Answer, Ask};
pub(crate) use directory::{Caller, Directory, Stranger};
pub(crate) use listeners::{Web, endpoints};

/// What is answered to whom; pure but for what it remembers.
pub(crate) trait Site: Send + Sync + 'static {
    /// Name in logs.
    const NAME: &'static str;

    /// Whether `caller` is a guest at all: asked before a byte is read.
    fn admits(&self, caller: &Caller<'_>) -> Result<(), Stranger>;

    /// The answer to `ask`.
    fn answer(&self, caller: &Caller<'_>, ask: &Ask<'_>) -> Result<Answer, Stranger>;
}
