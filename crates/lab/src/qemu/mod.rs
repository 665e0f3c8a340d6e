//! QEMU machines: command line, life, console, command channel.
//!
//! Guarantees: a machine ends with the process that started it, however that ends; KVM is used only
//! after a guest really ran with it; every wait has a bound. Needs `qemu-system-x86_64` and
//! `qemu-img` (Debian: qemu-system-x86, qemu-utils; for UEFI: ovmf) and no rights.

mod accel;
mod args;
mod config_drive;
mod console;
mod disk;
mod error;
mod guest;
mod layout;
mod machine;
mod nic;
mod qmp;
mod running;

#[cfg(test)]
mod tests;

pub use accel::Accelerator;
pub use config_drive::config_drive;
pub use error::MachineError;
pub use guest::{GUEST_PORT, GuestOutput, GuestReply, GuestRequest};
pub use layout::Layout;
pub use machine::{Machine, MachineStatus};
pub use nic::NicId;
pub use qmp::{Qmp, QmpError};

pub(crate) use disk::check_images;
pub(crate) use machine::MachineParts;
