//! The rules that need more than one value to judge. One small function a rule.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sluice_api::Finding;
use sluice_api::types::{InterfaceAddress, MacAddr, ObjectId, Port};

use crate::wire::Impairment;

use super::types::{BootVia, DeskSpec, Firmware, LabSpec, MachineKind, MachineSpec, NicSpec};

/// Socket paths must stay below 108 bytes, whatever the folder before the lab's is called.
const NAME_LIMIT: usize = 24;
/// PCI slots of the machine type that are free for NICs.
const NIC_LIMIT: usize = 24;
/// QEMU counts its VNC servers from here.
const FIRST_VNC: u16 = 5900;

impl LabSpec {
    /// Everything that is wrong with it.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        names(self, &mut findings);
        wires(self, &mut findings);
        macs(self, &mut findings);
        for (name, machine) in &self.machines {
            check_machine(&format!("machines.{}", name.as_str()), machine, &mut findings);
        }
        links(self, &mut findings);
        host_ports(self, &mut findings);
        findings
    }
}

fn names(spec: &LabSpec, findings: &mut Vec<Finding>) {
    let mut named = vec![("name".to_owned(), &spec.name)];
    named.extend(spec.wires.keys().map(|name| (format!("wires.{}", name.as_str()), name)));
    named.extend(spec.machines.keys().map(|name| (format!("machines.{}", name.as_str()), name)));
    named
        .extend(spec.namespaces.keys().map(|name| (format!("namespaces.{}", name.as_str()), name)));
    for (path, name) in named {
        if name.as_str().len() > NAME_LIMIT {
            let reason = format!("must have at most {NAME_LIMIT} characters");
            findings.push(Finding::error(path, "name-length", reason));
        }
    }
    for name in spec.namespaces.keys().filter(|name| spec.machines.contains_key(*name)) {
        let path = format!("namespaces.{}", name.as_str());
        findings.push(Finding::error(path, "name-twice", "a machine has this name too"));
    }
    if spec.machines.is_empty() && spec.namespaces.is_empty() {
        findings.push(Finding::error("", "empty", "has no machine and no namespace"));
    }
}

struct Nic<'a> {
    path: String,
    spec: &'a NicSpec,
    mac: MacAddr,
}

fn all_nics(spec: &LabSpec) -> Vec<Nic<'_>> {
    let mut found = Vec::new();
    let identify = |kind: &str, name: &ObjectId, at: usize, nic: &'_ NicSpec| {
        let path = format!("{kind}.{}.nics[{at}]", name.as_str());
        (path, nic.mac_or_made(&spec.name, name, at))
    };
    for (name, machine) in &spec.machines {
        for (at, nic) in machine.nics.iter().enumerate() {
            let (path, mac) = identify("machines", name, at, nic);
            found.push(Nic { path, spec: nic, mac });
        }
    }
    for (name, namespace) in &spec.namespaces {
        for (at, nic) in namespace.nics.iter().enumerate() {
            let (path, mac) = identify("namespaces", name, at, &nic.nic);
            found.push(Nic { path, spec: &nic.nic, mac });
        }
    }
    found
}

fn wires(spec: &LabSpec, findings: &mut Vec<Finding>) {
    for nic in all_nics(spec) {
        if !spec.wires.contains_key(&nic.spec.wire) {
            let reason = format!("there is no wire {}", nic.spec.wire.as_str());
            findings.push(Finding::error(format!("{}.wire", nic.path), "no-such-wire", reason));
        }
        bounds(&nic.path, nic.spec.impairment, findings);
    }
    for (name, wire) in &spec.wires {
        bounds(&format!("wires.{}", name.as_str()), wire.impairment, findings);
    }
}

fn bounds(path: &str, impairment: Impairment, findings: &mut Vec<Finding>) {
    if let Err(error) = impairment.check() {
        findings.push(Finding::error(path, "delay", error.to_string()));
    }
}

fn macs(spec: &LabSpec, findings: &mut Vec<Finding>) {
    let nics = all_nics(spec).into_iter().map(|nic| (nic.path, nic.mac));
    let links = spec.machines.iter().flat_map(|(name, machine)| {
        let control = machine.control.as_ref().map(|it| ("control", it.mac));
        let desk = machine.desk.as_ref().map(|it| ("desk", it.mac));
        let path = |link| format!("machines.{}.{link}", name.as_str());
        control.into_iter().chain(desk).map(move |(link, mac)| (path(link), mac))
    });
    let mut first: BTreeMap<MacAddr, String> = BTreeMap::new();
    for (path, mac) in nics.chain(links) {
        if let Some(other) = first.get(&mac) {
            let reason = format!("{mac} is the address of {other} too");
            findings.push(Finding::error(format!("{path}.mac"), "mac-twice", reason));
        } else {
            first.insert(mac, path);
        }
    }
}

fn check_machine(path: &str, machine: &MachineSpec, findings: &mut Vec<Finding>) {
    let mut refuse = |key: &str, code: &str, reason: String| {
        findings.push(Finding::error(format!("{path}.{key}"), code, reason));
    };
    if !(64..=65_536).contains(&machine.ram_mib) {
        refuse("ram_mib", "ram", "must be 64 to 65536 MiB".into());
    }
    if !(1..=16).contains(&machine.cpus) {
        refuse("cpus", "cpus", "must be 1 to 16".into());
    }
    if machine.nics.len() > NIC_LIMIT {
        refuse("nics", "too-many-nics", format!("a machine has room for {NIC_LIMIT} NICs"));
    }
    match machine.kind {
        MachineKind::Host => only_template_has(machine, &mut refuse),
        MachineKind::Template => only_host_has(machine, &mut refuse),
    }
    if machine.firmware != Firmware::Direct {
        only_direct_has(machine, &mut refuse);
    }
    if machine.boot.is_none() && machine.boot_via == BootVia::ConfigDrive {
        refuse("boot_via", "no-boot", "there is no boot document to put on the drive".into());
    }
    if let Some(control) = &machine.control {
        check_user_network("control.address", control.address, &mut refuse);
    }
    if let Some(desk) = &machine.desk {
        check_desk(desk, &mut refuse);
    }
    if machine.vnc.is_some_and(|port| port.get() < FIRST_VNC) {
        refuse("vnc", "vnc-port", format!("must be {FIRST_VNC} or more"));
    }
}

type Refuse<'a> = dyn FnMut(&str, &str, String) + 'a;

fn only_template_has(machine: &MachineSpec, refuse: &mut Refuse<'_>) {
    let given = [
        ("disk", machine.disk.is_some()),
        ("boot", machine.boot.is_some()),
        ("firmware", machine.firmware != Firmware::Direct),
    ];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        refuse(key, "not-for-host", "is for machines of kind template only".into());
    }
}

fn only_host_has(machine: &MachineSpec, refuse: &mut Refuse<'_>) {
    if machine.root.is_some() {
        refuse("root", "not-for-template", "is for machines of kind host only".into());
    }
}

fn only_direct_has(machine: &MachineSpec, refuse: &mut Refuse<'_>) {
    let given = [
        ("kernel", machine.kernel.is_some()),
        ("initrd", machine.initrd.is_some()),
        ("append", !machine.append.is_empty()),
    ];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        refuse(key, "direct-only", "needs firmware = \"direct\"".into());
    }
}

fn check_user_network(key: &str, address: InterfaceAddress, refuse: &mut Refuse<'_>) {
    let fits = address.ip().is_ipv4() && (8..=29).contains(&address.prefix());
    if !fits {
        let reason = "must be IPv4 with a prefix of 8 to 29, so that this host has a place in it";
        refuse(key, "control-address", reason.into());
    }
}

fn check_desk(desk: &DeskSpec, refuse: &mut Refuse<'_>) {
    check_user_network("desk.address", desk.address, refuse);
    let outside =
        |host: &IpAddr| *host == desk.address.ip() || !desk.address.network().contains(*host);
    if let Some(host) = desk.host.map(IpAddr::V4).filter(outside) {
        let reason = format!("{host} must be in the network of {} and another", desk.address);
        refuse("desk.host", "desk-host", reason);
    }
}

fn links(spec: &LabSpec, findings: &mut Vec<Finding>) {
    for (name, namespace) in &spec.namespaces {
        let mut seen = Vec::new();
        for (at, nic) in namespace.nics.iter().enumerate() {
            if seen.contains(&&nic.link) {
                let path = format!("namespaces.{}.nics[{at}].link", name.as_str());
                let reason = format!("{} is there twice", nic.link);
                findings.push(Finding::error(path, "link-twice", reason));
            }
            seen.push(&nic.link);
        }
    }
}

fn host_ports(spec: &LabSpec, findings: &mut Vec<Finding>) {
    let mut first = BTreeMap::new();
    for (name, machine) in &spec.machines {
        for (key, port) in ports(machine) {
            if let Some(other) = first.insert(port, name) {
                let path = format!("machines.{}.{key}", name.as_str());
                let reason = format!("{port} leads to {} already", other.as_str());
                findings.push(Finding::error(path, "port-twice", reason));
            }
        }
    }
}

/// Ports of this host that a machine takes, by where they are said.
fn ports(machine: &MachineSpec) -> Vec<(String, Port)> {
    let control = machine.control.as_ref().and_then(|control| control.host_port);
    let mut ports: Vec<_> =
        control.map(|port| ("control.host_port".to_owned(), port)).into_iter().collect();
    ports.extend(machine.vnc.map(|port| ("vnc".to_owned(), port)));
    let forward = machine.desk.iter().flat_map(|desk| &desk.forward).enumerate();
    ports.extend(forward.map(|(at, it)| (format!("desk.forward[{at}].host_port"), it.host_port)));
    ports
}
