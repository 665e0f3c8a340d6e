//! Checked values that every layer shares.
//!
//! Guarantees: a value of one of these types is valid; decoding is the check, so no later code asks again.
//! Not here: anything that needs two values to judge (a gateway inside its network), which is `check`'s task.

mod host;
mod link;
mod mac;
mod name;
mod net;
mod number;
mod secret;
mod text;

pub use host::HostAddress;
pub use link::LinkName;
pub use mac::MacAddr;
pub use name::{ApplianceId, DomainName, HostName, ObjectId};
pub use net::{Cidr, InterfaceAddress};
pub use number::{
    CaptureBytes, CapturePackets, CaptureSeconds, Generation, HopLimit, LeaseSeconds, Mtu, Port,
    ProbeCount, VlanId,
};
pub use secret::Secret;
pub use text::InvalidValue;
