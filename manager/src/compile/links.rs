//! Links: the control NIC, the NICs into physical networks, and VLANs on the trunks.
//!
//! Names come with the model: they are given once and stay, whatever else comes and goes.

use std::net::{IpAddr, Ipv4Addr};

use sluice_api::config::{Attachment, Link, LinkRole};
use sluice_api::types::{InterfaceAddress, LinkName, MacAddr, Mtu, ObjectId, VlanId};

use super::{ApplianceModel, Carrier, CompileError, NetworkModel, UplinkModel};
use crate::kinds::appliance::NicPurpose;

/// Name of the link into the control network.
pub(super) fn control_link() -> Result<LinkName, CompileError> {
    Ok("ctl".parse()?)
}

/// All links of an appliance.
pub(super) fn links(model: &ApplianceModel) -> Result<Vec<Link>, CompileError> {
    let control = vec![model.control];
    let mut links =
        vec![nic(control_link()?, LinkRole::Control, model.control_mac, Mtu::ETHERNET, control)];
    for carrier in of(model, NicPurpose::Trunk) {
        let (name, role) = (carrier.link.clone(), LinkRole::Trunk);
        links.push(nic(name, role, carrier.mac, carrier.mtu, Vec::new()));
    }
    for up in &model.uplinks {
        links.push(public(model, up)?);
    }
    for carrier in of(model, NicPurpose::Storage) {
        let (name, role) = (carrier.link.clone(), LinkRole::Storage);
        let addresses = model.storage_address.into_iter().collect();
        links.push(nic(name, role, carrier.mac, carrier.mtu, addresses));
    }
    for network in model.sorted_networks() {
        links.push(guest(model, network)?);
    }
    for private in &model.private {
        let carrier = trunk(model, &private.physical_network, "private gateways")?;
        let (name, role, addresses) =
            (private.link.clone(), LinkRole::Private, vec![private.address]);
        links.push(vlan(name, role, &carrier.link, private.vlan, carrier.mtu, addresses));
    }
    Ok(links)
}

fn of(model: &ApplianceModel, purpose: NicPurpose) -> impl Iterator<Item = &Carrier> {
    model.carriers.iter().filter(move |carrier| carrier.purpose == purpose)
}

fn public(model: &ApplianceModel, up: &UplinkModel) -> Result<Link, CompileError> {
    let own = model.ips.iter().filter(|ip| ip.link == up.link);
    let ipv4 = own.map(|ip| interface(ip.address, ip.prefix));
    let ipv6 = up.ipv6.map(|(address, _)| Ok(address));
    let addresses = ipv4.chain(ipv6).collect::<Result<_, CompileError>>()?;
    if let Some(id) = up.vlan {
        let carrier = trunk(model, &up.physical_network, "tagged public traffic")?;
        let (link, mtu) = (up.link.clone(), carrier.mtu);
        return Ok(vlan(link, LinkRole::Public, &carrier.link, id, mtu, addresses));
    }
    let carrier = of(model, NicPurpose::Public)
        .find(|carrier| carrier.physical_network == up.physical_network)
        .ok_or_else(|| no_carrier(model, "untagged public traffic", &up.physical_network))?;
    Ok(nic(up.link.clone(), LinkRole::Public, carrier.mac, carrier.mtu, addresses))
}

/// A guest VLAN with the gateways of its ranges as its addresses.
fn guest(model: &ApplianceModel, network: &NetworkModel) -> Result<Link, CompileError> {
    let carrier = trunk(model, &network.physical_network, "guest VLANs")?;
    let mtu = network.mtu.unwrap_or(carrier.mtu);
    let addresses = network.spans().map(|(cidr, gateway)| interface(gateway, cidr.prefix()));
    let mut addresses: Vec<_> = addresses.collect::<Result<_, _>>()?;
    if let Some(ipv6) = network.ipv6.and_then(super::network::ipv6) {
        addresses.push(InterfaceAddress::new(IpAddr::V6(ipv6.gateway), ipv6.cidr.prefix())?);
    }
    let (link, role) = (network.link.clone(), LinkRole::Guest);
    Ok(vlan(link, role, &carrier.link, network.vlan, mtu, addresses))
}

fn trunk<'a>(
    model: &'a ApplianceModel,
    network: &ObjectId,
    what: &'static str,
) -> Result<&'a Carrier, CompileError> {
    of(model, NicPurpose::Trunk)
        .find(|carrier| &carrier.physical_network == network)
        .ok_or_else(|| no_carrier(model, what, network))
}

fn no_carrier(model: &ApplianceModel, what: &'static str, network: &ObjectId) -> CompileError {
    CompileError::NoCarrier {
        appliance: model.appliance.clone(),
        what,
        physical_network: network.clone(),
    }
}

fn interface(address: Ipv4Addr, prefix: u8) -> Result<InterfaceAddress, CompileError> {
    Ok(InterfaceAddress::new(IpAddr::V4(address), prefix)?)
}

fn nic(
    name: LinkName,
    role: LinkRole,
    mac: MacAddr,
    mtu: Mtu,
    addresses: Vec<InterfaceAddress>,
) -> Link {
    Link { name, role, attach: Attachment::Nic { mac }, mtu, addresses }
}

fn vlan(
    name: LinkName,
    role: LinkRole,
    trunk: &LinkName,
    id: VlanId,
    mtu: Mtu,
    addresses: Vec<InterfaceAddress>,
) -> Link {
    let attach = Attachment::Vlan { trunk: trunk.clone(), id, mac: None };
    Link { name, role, attach, mtu, addresses }
}
