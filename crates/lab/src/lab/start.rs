//! Bringing a lab up: wires, then namespaces, then machines, all machines at once.

use std::collections::BTreeMap;

use sluice_api::types::ObjectId;
use sluice_sys::tap::TapDevice;
use tokio::task::JoinSet;

use crate::netns::{Namespace, NetnsError, Topology};
use crate::qemu::{Accelerator, Layout, Machine, MachineParts, check_images};
use crate::spec::{LabSpec, MachineSpec, NamespaceNic, NamespaceSpec, NicSpec};
use crate::wire::{PortIo, PortMode, PortSettings, Wire};

use super::error::LabError;
use super::{Folder, Lab};

type Wires = BTreeMap<ObjectId, Wire>;

pub(super) async fn start(spec: LabSpec, folder: Folder) -> Result<Lab, LabError> {
    let missing = check_images(&spec);
    if !missing.is_empty() {
        return Err(LabError::Images(missing));
    }
    // this user's own folder: in /tmp itself anybody could have left an answer
    let accelerator = Accelerator::choose(crate::daemon::root().ok().as_deref()).await;
    let wires = make_wires(&spec)?;
    let (topology, namespaces) = make_namespaces(&spec, &wires)?;
    let mut lab = Lab {
        spec,
        accelerator,
        machines: BTreeMap::new(),
        namespaces,
        wires,
        _topology: topology,
        folder,
    };
    lab.machines = make_machines(&lab).await?;
    Ok(lab)
}

fn make_wires(spec: &LabSpec) -> Result<Wires, LabError> {
    let make = |(name, wire): (&ObjectId, &crate::spec::WireSpec)| {
        Ok((name.clone(), Wire::new(name.as_str(), wire.impairment, wire.seed)?))
    };
    spec.wires.iter().map(make).collect()
}

type Namespaces = (Option<Topology>, BTreeMap<ObjectId, Namespace>);

fn make_namespaces(spec: &LabSpec, wires: &Wires) -> Result<Namespaces, LabError> {
    if spec.namespaces.is_empty() {
        return Ok((None, BTreeMap::new()));
    }
    let mut topology = Topology::new()?;
    let mut made = BTreeMap::new();
    for (name, described) in &spec.namespaces {
        // the lab's name too, because one process may run several labs
        let full = format!("{}-{}", spec.name.as_str(), name.as_str());
        let namespace = topology.namespace(&full)?;
        furnish(spec, name, described, &namespace, wires)?;
        made.insert(name.clone(), namespace);
    }
    Ok((Some(topology), made))
}

fn furnish(
    spec: &LabSpec,
    name: &ObjectId,
    described: &NamespaceSpec,
    namespace: &Namespace,
    wires: &Wires,
) -> Result<(), LabError> {
    for (number, nic) in described.nics.iter().enumerate() {
        let mac = nic.nic.mac_or_made(&spec.name, name, number);
        let label = format!("{}.{}", name.as_str(), nic.link);
        plug_tap(&label, namespace, nic, find_wire(wires, &nic.nic)?)?;
        namespace.mac(&nic.link, mac)?;
        namespace.up(&nic.link)?;
        nic.addresses.iter().try_for_each(|address| namespace.address(&nic.link, *address))?;
    }
    if let Some(gateway) = described.gateway {
        namespace.route(["default", "via", &gateway.to_string()])?;
    }
    Ok(())
}

fn plug_tap(
    label: &str,
    namespace: &Namespace,
    nic: &NamespaceNic,
    wire: &Wire,
) -> Result<(), NetnsError> {
    let failed = |source| NetnsError::Io {
        namespace: namespace.full_name().to_owned(),
        action: "make a TAP device",
        source,
    };
    let tap = namespace.enter(|| TapDevice::open(nic.link.as_str()))?.map_err(failed)?;
    let io = PortIo::tap(tap).map_err(failed)?;
    let mode = nic.nic.vlan.map_or(PortMode::Trunk, PortMode::Access);
    wire.add_port(label, PortSettings { mode, impairment: nic.nic.impairment }, io);
    Ok(())
}

fn find_wire<'a>(wires: &'a Wires, nic: &NicSpec) -> Result<&'a Wire, LabError> {
    super::find(wires, "wire", nic.wire.as_str())
}

async fn make_machines(lab: &Lab) -> Result<BTreeMap<ObjectId, Machine>, LabError> {
    let mut starting = JoinSet::new();
    for (name, spec) in &lab.spec.machines {
        starting.spawn(make_machine(name.clone(), parts(lab, name, spec)?));
    }
    let mut made = BTreeMap::new();
    while let Some(started) = starting.join_next().await {
        // a task that panicked is our own bug and is shown as one; none is ever cancelled
        let (name, machine) = started.unwrap_or_else(|end| match end.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(end) => unreachable!("{end}"),
        })?;
        made.insert(name, machine);
    }
    Ok(made)
}

fn parts(lab: &Lab, name: &ObjectId, spec: &MachineSpec) -> Result<MachineParts, LabError> {
    let plug = |(number, nic): (usize, &NicSpec)| {
        let mac = nic.mac_or_made(&lab.spec.name, name, number);
        Ok((mac, find_wire(&lab.wires, nic)?.clone()))
    };
    Ok(MachineParts {
        name: name.as_str().to_owned(),
        spec: spec.clone(),
        images: lab.spec.images.clone(),
        layout: Layout::new(lab.folder(), name.as_str())?,
        accelerator: lab.accelerator,
        nics: spec.nics.iter().enumerate().map(plug).collect::<Result<_, LabError>>()?,
    })
}

async fn make_machine(
    name: ObjectId,
    parts: MachineParts,
) -> Result<(ObjectId, Machine), LabError> {
    let start = parts.spec.start;
    let machine = Machine::create(parts).await?;
    if start {
        machine.power_on().await?;
    }
    Ok((name, machine))
}
