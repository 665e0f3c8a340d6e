//! The description of a lab. Units are in the names; defaults are those of the TOML file.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sluice_api::types::{InterfaceAddress, LinkName, MacAddr, ObjectId, Port, VlanId};

use crate::wire::Impairment;

/// A whole lab.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabSpec {
    /// Its name, at most 24 characters; one lab of a name runs at a time.
    pub name: ObjectId,
    /// Folder of the built images.
    pub images: PathBuf,
    /// Virtual wires.
    #[serde(default)]
    pub wires: BTreeMap<ObjectId, WireSpec>,
    /// QEMU machines.
    #[serde(default)]
    pub machines: BTreeMap<ObjectId, MachineSpec>,
    /// Network namespaces of this host; they need root.
    #[serde(default)]
    pub namespaces: BTreeMap<ObjectId, NamespaceSpec>,
}

/// A virtual wire.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WireSpec {
    /// Loss and delay. Default none.
    pub impairment: Impairment,
    /// Which frames are lost, given the same traffic. Default 0.
    pub seed: u64,
}

/// What a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineKind {
    /// Our system VM template.
    #[default]
    Template,
    /// A Debian test host with a command channel.
    Host,
}

/// What starts the machine's kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// SeaBIOS.
    #[default]
    Bios,
    /// OVMF.
    Uefi,
    /// None: QEMU loads kernel and initrd.
    Direct,
}

/// How a template gets its boot document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootVia {
    /// QEMU fw_cfg `opt/sluice/boot`.
    #[default]
    FwCfg,
    /// An ISO labelled `SLUICE` with `boot.json`; needs `genisoimage`, `mkisofs` or `xorriso`.
    ConfigDrive,
}

/// A QEMU machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MachineSpec {
    /// Template or test host.
    pub kind: MachineKind,
    /// RAM in MiB, 64 to 65536. Default 128 for a template, 256 for a host.
    pub ram_mib: u32,
    /// Processors, 1 to 16. Default 1.
    pub cpus: u32,
    /// What boots it. A host is always `direct`.
    pub firmware: Firmware,
    /// The template's disk (qcow2); the machine writes to an overlay of its own.
    /// Default `sluice.qcow2` in the images' folder.
    pub disk: Option<PathBuf>,
    /// Kernel for `direct`. Default `sluice.vmlinuz` in the images' folder.
    pub kernel: Option<PathBuf>,
    /// Initial RAM file system for `direct`. Default `sluice.initrd` in the images' folder.
    pub initrd: Option<PathBuf>,
    /// A host's root disk, shared read-only. Default `testhost.raw`; a host that has a
    /// `kernel` of its own has no root disk unless it says so.
    pub root: Option<PathBuf>,
    /// Files that it sees as further disks, which it can only read. Default none.
    pub attached: Vec<PathBuf>,
    /// More words for the kernel command line; `direct` only. Default none.
    pub append: String,
    /// What its clock says at the start, `2001-02-03T04:05:06`. Default: the present.
    pub clock: Option<String>,
    /// The boot document. Default none.
    pub boot: Option<PathBuf>,
    /// How the boot document gets in. Default `fw-cfg`.
    pub boot_via: BootVia,
    /// The control link. Default none.
    pub control: Option<ControlSpec>,
    /// A link on which this computer is the machine's whole outside world. Default none.
    pub desk: Option<DeskSpec>,
    /// A graphics card, and a VNC server at this port of 127.0.0.1 (5900 or more) that shows its screen. Default: no screen.
    pub vnc: Option<Port>,
    /// NICs on wires, in the order of the machine's PCI slots.
    pub nics: Vec<NicSpec>,
    /// Whether the machine starts with the lab. Default true.
    pub start: bool,
}

/// A NIC on a wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NicSpec {
    /// The wire.
    pub wire: ObjectId,
    /// Makes the port an access port of this VLAN. Default: tags pass untouched.
    #[serde(default)]
    pub vlan: Option<VlanId>,
    /// Hardware address. Default: made from the names, the same every time.
    #[serde(default)]
    pub mac: Option<MacAddr>,
    /// Loss and delay of this port. Default none.
    #[serde(default)]
    pub impairment: Impairment,
}

/// A link on which only this host reaches the machine, for its API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSpec {
    /// The machine's own address, IPv4, prefix 8 to 29; the same as in its boot document.
    pub address: InterfaceAddress,
    /// The hardware address of the link's NIC; the same as in the boot document.
    pub mac: MacAddr,
    /// Port of 127.0.0.1 that leads to the machine's API. Default: any free one.
    #[serde(default)]
    pub host_port: Option<Port>,
}

/// A link to this computer: ports of 127.0.0.1 lead to the machine, and what the machine opens goes to services of this
/// computer (at the address `host`) or through it to wherever it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeskSpec {
    /// The machine's own address, IPv4, prefix 8 to 29.
    pub address: InterfaceAddress,
    /// The hardware address of the link's NIC.
    pub mac: MacAddr,
    /// This computer's address on the link: there the machine finds what listens on 127.0.0.1 here. Default: the first of
    /// the network that is not the machine's own.
    #[serde(default)]
    pub host: Option<Ipv4Addr>,
    /// Ports that lead to the machine. Default none.
    #[serde(default)]
    pub forward: Vec<ForwardSpec>,
}

/// A port of 127.0.0.1 that leads to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardSpec {
    /// The port here.
    pub host_port: Port,
    /// The machine's.
    pub port: Port,
}

/// A network namespace of this host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NamespaceSpec {
    /// Its interfaces.
    pub nics: Vec<NamespaceNic>,
    /// Next hop of its default route. Default: none.
    pub gateway: Option<std::net::IpAddr>,
}

/// A TAP interface in a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceNic {
    /// Where it is plugged in.
    pub nic: NicSpec,
    /// Interface name. Default `eth0`, `eth1`, ...
    pub link: LinkName,
    /// Its addresses. Default none.
    #[serde(default)]
    pub addresses: Vec<InterfaceAddress>,
}

impl LabSpec {
    /// Where images are unless said otherwise: `$SLUICE_IMAGE_DIR`, else `target/image` below the
    /// present folder or, for tests of a crate, below the workspace's.
    pub fn usual_images() -> PathBuf {
        let here = PathBuf::from("target/image");
        let workspace = PathBuf::from("../target/image");
        match std::env::var_os("SLUICE_IMAGE_DIR") {
            Some(folder) => folder.into(),
            None if !here.exists() && workspace.exists() => workspace,
            None => here,
        }
    }
}

impl Default for MachineSpec {
    fn default() -> Self {
        Self {
            kind: MachineKind::Template,
            ram_mib: Self::TEMPLATE_RAM_MIB,
            cpus: 1,
            firmware: Firmware::Bios,
            disk: None,
            kernel: None,
            initrd: None,
            root: None,
            attached: Vec::new(),
            append: String::new(),
            clock: None,
            boot: None,
            boot_via: BootVia::FwCfg,
            control: None,
            desk: None,
            vnc: None,
            nics: Vec::new(),
            start: true,
        }
    }
}

impl MachineSpec {
    /// RAM a template has unless told otherwise.
    pub const TEMPLATE_RAM_MIB: u32 = 128;
    /// RAM a test host has unless told otherwise.
    pub const HOST_RAM_MIB: u32 = 256;

    /// A template booted by SeaBIOS, without NICs.
    pub fn template() -> Self {
        Self::default()
    }

    /// A test host without NICs.
    pub fn host() -> Self {
        Self {
            kind: MachineKind::Host,
            ram_mib: Self::HOST_RAM_MIB,
            firmware: Firmware::Direct,
            ..Self::default()
        }
    }

    /// Whether a host has a root disk: not when it brings a kernel of its own and no root.
    pub fn has_root(&self) -> bool {
        self.root.is_some() || self.kernel.is_none()
    }

    /// With a NIC on a wire.
    #[must_use]
    pub fn nic(mut self, nic: NicSpec) -> Self {
        self.nics.push(nic);
        self
    }

    /// With this boot document and control link.
    #[must_use]
    pub fn boot(mut self, document: impl Into<PathBuf>, control: ControlSpec) -> Self {
        self.boot = Some(document.into());
        self.control = Some(control);
        self
    }

    /// With another firmware.
    #[must_use]
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// With this much RAM, in MiB.
    #[must_use]
    pub fn ram_mib(mut self, ram_mib: u32) -> Self {
        self.ram_mib = ram_mib;
        self
    }
}

impl NicSpec {
    /// A NIC on a wire; tags pass untouched.
    pub fn on(wire: ObjectId) -> Self {
        Self { wire, vlan: None, mac: None, impairment: Impairment::default() }
    }

    /// Behind an access port of this VLAN.
    #[must_use]
    pub fn vlan(mut self, vlan: VlanId) -> Self {
        self.vlan = Some(vlan);
        self
    }

    /// With this hardware address.
    #[must_use]
    pub fn mac(mut self, mac: MacAddr) -> Self {
        self.mac = Some(mac);
        self
    }

    /// The address it has: its own, or one made from the names of lab and machine and the NIC's
    /// number, in QEMU's range 52:54:00.
    pub fn mac_or_made(&self, lab: &ObjectId, node: &ObjectId, number: usize) -> MacAddr {
        let made = || {
            let text = format!("{}/{}/{number}", lab.as_str(), node.as_str());
            // FNV-1a: only spread is wanted, and the check refuses the rare twin
            let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
                (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            });
            let [_, a, b, c] = hash.to_be_bytes();
            MacAddr::from_bytes([0x52, 0x54, 0x00, a, b, c])
        };
        match self.mac.or_else(made) {
            Some(mac) => mac,
            None => unreachable!("52:54:00 is neither zero nor a group address"),
        }
    }
}
