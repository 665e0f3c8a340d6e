//! The lab that a cloud needs: one template for each appliance, one host for each guest, one "Internet".

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sluice_api::types::ObjectId;
use sluice_lab::Lab;
use sluice_lab::spec::{ControlSpec, Firmware, LabSpec, MachineSpec, NicSpec};
use sluice_manager::model::view::{Appliance, ApplianceNic, Guest, NicPurpose};

use super::View;
use crate::image;

/// The wire that carries public traffic.
pub const PUBLIC: &str = "public";
/// The wire that carries the tags of all guest networks.
pub const TRUNK: &str = "trunk";
/// The wire that carries storage traffic.
pub const STORAGE: &str = "storage";
/// The machine behind the public gateway.
pub const INTERNET: &str = "inet";

/// Describes the lab; `document` says where an appliance's boot document is.
pub(super) fn lab(
    name: &str,
    view: &View,
    firmware: Firmware,
    document: &dyn Fn(&Appliance) -> PathBuf,
) -> Result<LabSpec> {
    let disk = image("sluice.qcow2");
    let images = disk.parent().unwrap_or(Path::new("."));
    let mut lab = Lab::builder(name).images(images).wire(PUBLIC).wire(TRUNK);
    let nics = || view.appliances.iter().flat_map(|appliance| &appliance.nics);
    if nics().any(|nic| nic.purpose == NicPurpose::Storage) {
        lab = lab.wire(STORAGE);
    }
    for appliance in &view.appliances {
        let machine = template(appliance, &document(appliance))?.firmware(firmware);
        lab = lab.machine(appliance.id.as_str(), machine);
    }
    for guest in &view.guests {
        lab = lab.machine(guest.name.as_str(), host(view, guest)?);
    }
    // what is behind a private gateway has the gateway's name
    for gateway in &view.gateways {
        lab = lab.host(gateway.name.as_str(), TRUNK, Some(gateway.vlan));
    }
    let spec = lab.host(INTERNET, PUBLIC, None).build()?;
    Ok(spec)
}

fn template(appliance: &Appliance, document: &Path) -> Result<MachineSpec> {
    let control = nic(appliance, NicPurpose::Control)?;
    let control = ControlSpec { address: appliance.control, mac: control.mac, host_port: None };
    let mut machine = MachineSpec::template().boot(document, control);
    for nic in &appliance.nics {
        if let Some(name) = plug(nic.purpose) {
            machine = machine.nic(NicSpec::on(wire(name)?).mac(nic.mac));
        }
    }
    Ok(machine)
}

/// The wire that a NIC is plugged into; the control network is not one of them.
fn plug(purpose: NicPurpose) -> Option<&'static str> {
    match purpose {
        NicPurpose::Control => None,
        NicPurpose::Public => Some(PUBLIC),
        NicPurpose::Trunk => Some(TRUNK),
        NicPurpose::Storage => Some(STORAGE),
    }
}

fn nic(appliance: &Appliance, purpose: NicPurpose) -> Result<&ApplianceNic> {
    let found = appliance.nics.iter().find(|nic| nic.purpose == purpose);
    found.with_context(|| format!("{} has no {purpose:?} NIC", appliance.id))
}

/// A guest sits behind an access port: it sees no tags, as on a hypervisor's bridge.
fn host(view: &View, guest: &Guest) -> Result<MachineSpec> {
    let mut machine = MachineSpec::host();
    for nic in &guest.nics {
        let network = view.networks.iter().find(|network| network.id == nic.network);
        let network = network.with_context(|| format!("{} is in no network", guest.name))?;
        machine = machine.nic(NicSpec::on(wire(TRUNK)?).vlan(network.vlan).mac(nic.mac));
    }
    Ok(machine)
}

fn wire(name: &str) -> Result<ObjectId> {
    name.parse().context("a wire's name")
}
