//! Links: the control NIC, one NIC per carrier, and VLANs on the trunks.
//!
//! Names: `ctl`; untagged public NICs and public VLANs `pub0`, `pub1`, ...; trunks `trunk0`, ...; guest VLANs `guest0`, ...

use std::net::{IpAddr, Ipv4Addr};

use sluice_api::config::{Attachment, Link, LinkRole};
use sluice_api::types::{InterfaceAddress, LinkName, MacAddr, Mtu, ObjectId, VlanId};

use super::{CompileError, NetworkModel, PublicModel, RouterModel, role};

/// Links under construction.
pub(super) struct Links<'a> {
    model: &'a RouterModel,
    control: LinkName,
    made: Vec<Link>,
    /// Physical network, tag and link of each way out so far.
    outside: Vec<(&'a ObjectId, Option<VlanId>, LinkName)>,
    guests: usize,
}

impl<'a> Links<'a> {
    pub(super) fn new(model: &'a RouterModel) -> Result<Self, CompileError> {
        let control: LinkName = "ctl".parse()?;
        let mut links = vec![nic(
            control.clone(),
            LinkRole::Control,
            model.control_mac,
            Mtu::ETHERNET,
            vec![model.control],
        )];
        let tagged = model.carriers.iter().filter(|carrier| carrier.tagged);
        for (position, carrier) in tagged.enumerate() {
            let name = numbered("trunk", position)?;
            links.push(nic(name, role(carrier), carrier.mac, carrier.mtu, Vec::new()));
        }
        Ok(Self { model, control, made: links, outside: Vec::new(), guests: 0 })
    }

    pub(super) fn control(&self) -> LinkName {
        self.control.clone()
    }

    /// The link of a way out, with its address added.
    pub(super) fn public(&mut self, public: &'a PublicModel) -> Result<LinkName, CompileError> {
        let address = interface(public.address, public.cidr.prefix())?;
        let known = self.outside.iter().find(|(network, vlan, _)| {
            *network == &public.physical_network && *vlan == public.vlan
        });
        if let Some((_, _, name)) = known.cloned() {
            let link = self.made.iter_mut().find(|link| link.name == name);
            if let Some(link) = link.filter(|link| !link.addresses.contains(&address)) {
                link.addresses.push(address);
            }
            return Ok(name);
        }
        let name = numbered("pub", self.outside.len())?;
        let link = self.public_link(&name, public, address)?;
        self.made.push(link);
        self.outside.push((&public.physical_network, public.vlan, name.clone()));
        Ok(name)
    }

    fn public_link(
        &self,
        name: &LinkName,
        public: &PublicModel,
        address: InterfaceAddress,
    ) -> Result<Link, CompileError> {
        let network = &public.physical_network;
        if let Some(id) = public.vlan {
            let (trunk, mtu) = self.trunk(network, "tagged public traffic")?;
            return Ok(vlan(name.clone(), LinkRole::Public, trunk, id, mtu, address));
        }
        let carrier = self
            .model
            .carriers
            .iter()
            .find(|carrier| !carrier.tagged && &carrier.physical_network == network)
            .ok_or_else(|| self.no_carrier("untagged public traffic", network))?;
        Ok(nic(name.clone(), role(carrier), carrier.mac, carrier.mtu, vec![address]))
    }

    /// A new guest VLAN with the gateway as its address.
    pub(super) fn guest(&mut self, network: &NetworkModel) -> Result<LinkName, CompileError> {
        let (trunk, carrier_mtu) = self.trunk(&network.physical_network, "guest VLANs")?;
        let name = numbered("guest", self.guests)?;
        self.guests += 1;
        let mtu = network.mtu.unwrap_or(carrier_mtu);
        let address = interface(network.gateway, network.cidr.prefix())?;
        self.made.push(vlan(name.clone(), LinkRole::Guest, trunk, network.vlan, mtu, address));
        Ok(name)
    }

    /// The trunk into `network`, by position among the tagged carriers.
    fn trunk(
        &self,
        network: &ObjectId,
        what: &'static str,
    ) -> Result<(LinkName, Mtu), CompileError> {
        let tagged = self.model.carriers.iter().filter(|carrier| carrier.tagged);
        let (position, carrier) = tagged
            .enumerate()
            .find(|(_, carrier)| &carrier.physical_network == network)
            .ok_or_else(|| self.no_carrier(what, network))?;
        Ok((numbered("trunk", position)?, carrier.mtu))
    }

    fn no_carrier(&self, what: &'static str, network: &ObjectId) -> CompileError {
        CompileError::NoCarrier {
            appliance: self.model.appliance.clone(),
            what,
            physical_network: network.clone(),
        }
    }

    pub(super) fn finish(self) -> Vec<Link> {
        self.made
    }
}

fn numbered(stem: &str, number: usize) -> Result<LinkName, CompileError> {
    Ok(format!("{stem}{number}").parse()?)
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
    trunk: LinkName,
    id: VlanId,
    mtu: Mtu,
    address: InterfaceAddress,
) -> Link {
    let attach = Attachment::Vlan { trunk, id, mac: None };
    Link { name, role, attach, mtu, addresses: vec![address] }
}
