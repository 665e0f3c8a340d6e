//! From TOML text to a checked [`LabSpec`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sluice_api::Finding;
use sluice_api::types::{LinkName, ObjectId};
use toml::{Table, Value};

use crate::wire::{Impairment, Percent};

use super::fields::Fields;
use super::types::{
    ControlSpec, DeskSpec, Firmware, LabSpec, MachineKind, MachineSpec, NamespaceNic,
    NamespaceSpec, NicSpec, WireSpec,
};

impl LabSpec {
    /// Reads a lab file. Relative paths in it start at `folder`; the images' folder is, in this
    /// order, the file's `images`, `images_default`. Every finding is returned, not the first only.
    pub fn parse(text: &str, folder: &Path, images_default: &Path) -> Result<Self, Vec<Finding>> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            vec![Finding::error("", "syntax", error.to_string().trim().to_owned())]
        })?;
        let mut findings = Vec::new();
        let spec = lab(table, folder, images_default, &mut findings);
        if let Some(spec) = &spec {
            // a lab is not empty when what is in it could not be read
            let misread = !findings.is_empty();
            findings.extend(spec.check().into_iter().filter(|f| !misread || f.code != "empty"));
        }
        findings.sort();
        findings.dedup();
        match spec {
            Some(spec) if findings.is_empty() => Ok(spec),
            _ => Err(findings),
        }
    }
}

fn lab(
    table: Table,
    folder: &Path,
    images_default: &Path,
    findings: &mut Vec<Finding>,
) -> Option<LabSpec> {
    let mut fields = Fields::new("", Value::Table(table), findings);
    let name = fields.required("name");
    let images = fields.optional::<PathBuf>("images").map(|path| folder.join(path));
    let wires = named(fields.entries("wires"), fields.findings(), wire);
    let machines = named(fields.entries("machines"), fields.findings(), |path, value, findings| {
        machine(path, value, folder, findings)
    });
    let namespaces = named(fields.entries("namespaces"), fields.findings(), namespace);
    fields.finish();
    let images = images.unwrap_or_else(|| images_default.to_owned());
    Some(LabSpec { name: name?, images, wires, machines, namespaces })
}

fn named<T>(
    entries: Vec<(String, String, Value)>,
    findings: &mut Vec<Finding>,
    decode: impl Fn(&str, Value, &mut Vec<Finding>) -> T,
) -> BTreeMap<ObjectId, T> {
    let mut found = BTreeMap::new();
    for (path, name, value) in entries {
        let decoded = decode(&path, value, findings);
        match name.parse::<ObjectId>() {
            Ok(name) => {
                found.insert(name, decoded);
            }
            Err(error) => findings.push(Finding::error(path, "name", error.to_string())),
        }
    }
    found
}

fn wire(path: &str, value: Value, findings: &mut Vec<Finding>) -> WireSpec {
    let mut fields = Fields::new(path, value, findings);
    let spec = WireSpec { impairment: impairment(&mut fields), seed: fields.or("seed", 0) };
    fields.finish();
    spec
}

fn impairment(fields: &mut Fields<'_>) -> Impairment {
    Impairment {
        loss_percent: fields.or("loss_percent", Percent::default()),
        delay_ms: fields.or("delay_ms", 0),
        jitter_ms: fields.or("jitter_ms", 0),
    }
}

fn machine(path: &str, value: Value, folder: &Path, findings: &mut Vec<Finding>) -> MachineSpec {
    let mut fields = Fields::new(path, value, findings);
    let base = match fields.or("kind", MachineKind::Template) {
        MachineKind::Template => MachineSpec::template(),
        MachineKind::Host => MachineSpec::host(),
    };
    let file = |fields: &mut Fields<'_>, key| {
        fields.optional::<PathBuf>(key).map(|path| folder.join(path))
    };
    let spec = MachineSpec {
        kind: base.kind,
        ram_mib: fields.or("ram_mib", base.ram_mib),
        cpus: fields.or("cpus", base.cpus),
        firmware: fields.or::<Firmware>("firmware", base.firmware),
        disk: file(&mut fields, "disk"),
        kernel: file(&mut fields, "kernel"),
        initrd: file(&mut fields, "initrd"),
        root: file(&mut fields, "root"),
        attached: attached(&mut fields, folder),
        append: fields.or("append", base.append),
        clock: fields.optional("clock"),
        boot: file(&mut fields, "boot"),
        boot_via: fields.or("boot_via", base.boot_via),
        control: control(&mut fields),
        desk: desk(&mut fields),
        vnc: fields.optional("vnc"),
        nics: nics(&mut fields),
        start: fields.or("start", base.start),
    };
    fields.finish();
    spec
}

fn attached(fields: &mut Fields<'_>, folder: &Path) -> Vec<PathBuf> {
    let paths: Vec<PathBuf> = fields.or("attached", Vec::new());
    paths.into_iter().map(|path| folder.join(path)).collect()
}

fn control(fields: &mut Fields<'_>) -> Option<ControlSpec> {
    let path = fields.path_of("control");
    let value = fields.raw("control")?;
    let mut fields = Fields::new(&path, value, fields.findings());
    let (address, mac) = (fields.required("address"), fields.required("mac"));
    let host_port = fields.optional("host_port");
    fields.finish();
    Some(ControlSpec { address: address?, mac: mac?, host_port })
}

fn desk(fields: &mut Fields<'_>) -> Option<DeskSpec> {
    let path = fields.path_of("desk");
    let value = fields.raw("desk")?;
    let mut fields = Fields::new(&path, value, fields.findings());
    let (address, mac) = (fields.required("address"), fields.required("mac"));
    let (host, forward) = (fields.optional("host"), fields.or("forward", Vec::new()));
    fields.finish();
    Some(DeskSpec { address: address?, mac: mac?, host, forward })
}

fn nics(fields: &mut Fields<'_>) -> Vec<NicSpec> {
    let items = fields.items("nics");
    let read = |(path, value): (String, Value)| {
        let mut fields = Fields::new(&path, value, fields.findings());
        let spec = nic(&mut fields);
        fields.finish();
        spec
    };
    items.into_iter().filter_map(read).collect()
}

fn nic(fields: &mut Fields<'_>) -> Option<NicSpec> {
    let wire = fields.required("wire");
    let (vlan, mac) = (fields.optional("vlan"), fields.optional("mac"));
    let impairment = impairment(fields);
    Some(NicSpec { wire: wire?, vlan, mac, impairment })
}

fn namespace(path: &str, value: Value, findings: &mut Vec<Finding>) -> NamespaceSpec {
    let mut fields = Fields::new(path, value, findings);
    let gateway = fields.optional("gateway");
    let items = fields.items("nics");
    let read = |(index, (path, value)): (usize, (String, Value))| {
        let mut fields = Fields::new(&path, value, fields.findings());
        let nic = namespace_nic(index, &mut fields);
        fields.finish();
        nic
    };
    let nics = items.into_iter().enumerate().filter_map(read).collect();
    fields.finish();
    NamespaceSpec { nics, gateway }
}

fn namespace_nic(index: usize, fields: &mut Fields<'_>) -> Option<NamespaceNic> {
    let link = fields.optional::<LinkName>("link");
    let link = link.or_else(|| format!("eth{index}").parse().ok());
    let addresses = fields.or("addresses", Vec::new());
    let nic = nic(fields);
    Some(NamespaceNic { nic: nic?, link: link?, addresses })
}
