//! Virtual wires: a learning switch in userspace between QEMU machines and namespaces.
//!
//! Guarantees: no frame, however broken, stops a wire; every queue is bounded and what does not
//! fit is counted; frames of one VLAN never leave through an access port of another.
//! Does not: run spanning tree, so two wires joined twice by guests loop as a real switch would.
//! Why our own: it needs no rights, carries 802.1Q where the kernel has none, and gives loss,
//! delay, cuts and captures at a place the machines cannot see.

mod capture;
mod core;
mod frame;
mod impair;
mod pcap;
mod port;
mod switch;
mod task;

#[cfg(test)]
mod tests;

pub use self::core::{Counters, Delivery, PortSettings, WireCore};
pub use capture::{Capture, CaptureError, CapturedFrame};
pub use frame::{Frame, TPID_8021Q};
pub use impair::{DELAY_LIMIT_MS, Impairment, ImpairmentError, Percent};
pub use pcap::{PcapReader, PcapWriter};
pub use port::{PortIo, PortReader, PortWriter};
pub use switch::{Carried, PortId, PortMode, Refused, Switch};
pub use task::{PortStatus, Wire, WireError, WireStatus};
