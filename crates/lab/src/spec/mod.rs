//! What a lab is made of, as a typed description and as a TOML file.
//!
//! Guarantees: a [`LabSpec`] that was parsed or built is whole: every NIC names a wire that exists,
//! no MAC is there twice. All findings of a file are reported at once, each with its path.
//! Does not look at the disk: missing images are found when the lab starts.

mod check;
mod decode;
mod fields;
mod types;

#[cfg(test)]
mod tests;

pub use types::{
    BootVia, ControlSpec, DeskSpec, Firmware, ForwardSpec, LabSpec, MachineKind, MachineSpec,
    NamespaceNic, NamespaceSpec, NicSpec, WireSpec,
};
