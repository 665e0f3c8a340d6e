//! What we own in the kernel, as plain sorted data: what is wanted, what is there, and the steps between.
//!
//! Guarantees: no value here touches the kernel, waits or reads a clock; everything compares, prints and serializes the
//! same way each time. Not here: deciding the steps (the agent's plan) and carrying them out ([`crate::kernel`]).

mod desired;
mod link;
mod observed;
mod route;
mod step;
mod sysctl;

pub use desired::{Desired, DesiredLink};
pub use link::{IfName, LinkKind, ObservedLink};
pub use observed::{Keys, Observed};
pub use route::RouteEntry;
pub use step::Step;
pub use sysctl::{SysctlKey, SysctlValue};
