//! Builds what boots: the template that every appliance runs from, and the laboratory's test host.
//!
//! Guarantees: wholly in user space (no loop device, no mount, no rights); only listed packages, files and modules ship; no
//! shell or interpreter in the standard flavour, checked on each build; fixed identities and times, so equal inputs give
//! equal trees. Does not yet: sign or verify the root (dm-verity), write an SBOM, fill slot B.

mod cpio;
mod debian;
mod disk;
mod elf;
mod error;
mod esp;
mod golden;
mod gpt_table;
mod grub;
mod initrd;
mod layout;
mod libraries;
mod licences;
mod lists;
mod manifest;
mod mirror;
mod modules;
mod root;
mod small_memory;
mod squashfs;
mod stamp;
mod template;
pub mod testhost;
mod tool;
mod tree;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use cpio::archive;
pub use error::{Error, Result};
pub use template::{Artifacts, KERNEL_OPTIONS, build, fetch};

/// Which template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// What operators boot.
    #[default]
    Standard,
    /// With a root shell on the serial line, busybox and tcpdump, for engineers; under file names of its own.
    Debug,
}

/// The IKE daemon in a template; their packages refuse each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ike {
    /// strongSwan.
    #[default]
    Strongswan,
    /// libreswan; under file names of its own.
    Libreswan,
}

impl Ike {
    const fn packages(self) -> &'static str {
        match self {
            Self::Strongswan => lists::PACKAGES_STRONGSWAN,
            Self::Libreswan => lists::PACKAGES_LIBRESWAN,
        }
    }

    const fn files(self) -> &'static str {
        match self {
            Self::Strongswan => lists::FILES_STRONGSWAN,
            Self::Libreswan => lists::FILES_LIBRESWAN,
        }
    }

    /// What its templates and lists have behind their name.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Strongswan => "",
            Self::Libreswan => "-libreswan",
        }
    }
}

/// What to build and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the images go.
    pub out: PathBuf,
    /// Where our release binaries are.
    pub binaries: PathBuf,
    /// Where unpacked Debian packages are kept between builds; deleting it fetches newer ones.
    pub cache: PathBuf,
    /// Which template.
    pub flavour: Flavour,
    /// Its IKE daemon.
    pub ike: Ike,
    /// Rewrite the checked-in lists of what ships instead of comparing with them.
    pub bless: bool,
}

impl Options {
    /// The usual places below a target directory: `image`, `release` and `image-cache`.
    pub fn in_target(target: &Path) -> Self {
        Self {
            out: target.join("image"),
            binaries: target.join("release"),
            cache: target.join("image-cache"),
            flavour: Flavour::Standard,
            ike: Ike::Strongswan,
            bless: false,
        }
    }
}
