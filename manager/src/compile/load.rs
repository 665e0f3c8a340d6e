//! From the store to the model of one appliance: all reads are here, so that the compilation itself is pure.

use sluice_api::boot::Role;

use crate::error::Error;
use crate::kinds::appliance::{Appliance, ApplianceNic, NicPurpose, Uplink};
use crate::kinds::dns_record::DnsRecord;
use crate::kinds::network::Network;
use crate::kinds::physical_network::PhysicalNetwork;
use crate::kinds::private_gateway::PrivateGateway;
use crate::kinds::public_ip::PublicIp;
use crate::kinds::public_range::PublicRange;
use crate::kinds::zone::Zone;
use crate::kinds::{dynamic, guest};
use crate::store::objects::ALL;
use crate::store::{Conn, wanted};

use super::{
    ApplianceModel, Carrier, ConsoleModel, ImportsModel, NetworkModel, OtherProxy, PrivateModel,
    PublicIpModel, UplinkModel,
};

/// All that the configuration of `appliance` is made of.
pub(super) async fn load(conn: &mut Conn, appliance: &Appliance) -> Result<ApplianceModel, Error> {
    let zone: Zone = dynamic::by_id(conn, &appliance.zone).await?;
    let control = appliance.nics.iter().find(|nic| nic.purpose == NicPurpose::Control);
    let missing = || Error::Corrupt { what: "control NIC", reason: "there is none".to_owned() };
    let router = [("router", appliance.id.as_str())];
    let ips: Vec<PublicIp> = dynamic::load(conn, &router, ALL).await?;
    let mut ranges = Vec::with_capacity(ips.len());
    for ip in &ips {
        ranges.push(dynamic::by_id::<PublicRange>(conn, &ip.public_range).await?);
    }
    let (mut uplinks, mut public) = (Vec::new(), Vec::new());
    for up in &appliance.uplinks {
        let own = |(_, range): &(&PublicIp, &PublicRange)| up.carries(range);
        let own: Vec<_> = ips.iter().zip(&ranges).filter(own).collect();
        uplinks.push(uplink(up, &own, &ranges)?);
        public.extend(own.into_iter().map(|(ip, range)| public_ip(up, ip, range)));
    }
    let mut networks = Vec::new();
    for network in dynamic::load::<Network>(conn, &router, ALL).await? {
        networks.push(network_model(conn, &network).await?);
    }
    let dns = zone.dns();
    Ok(ApplianceModel {
        appliance: appliance.id.clone(),
        zone: zone.id.clone(),
        control_mac: control.ok_or_else(missing)?.mac,
        control: appliance.control,
        control_gateway: zone.control_gateway,
        control_gateway_ipv6: zone.control_gateway_ipv6,
        storage_address: appliance.storage_address,
        managers: zone.managers,
        dns,
        resolvers: zone.resolvers,
        carriers: carriers(conn, appliance).await?,
        uplinks,
        ips: public,
        networks,
        private: dynamic::load::<PrivateGateway>(conn, &router, ALL)
            .await?
            .into_iter()
            .map(private)
            .collect(),
        certificate: appliance.certificate,
        console: console(conn, appliance).await?,
        imports: imports(appliance),
    })
}

fn imports(appliance: &Appliance) -> ImportsModel {
    ImportsModel {
        allowed: appliance.allowed_sources.clone(),
        proxy: appliance.source_proxy,
        authorities: appliance.source_authorities,
        ports: appliance.source_ports.clone(),
        disk_bytes: appliance.most_disk_bytes,
        unpack_bytes: appliance.unpack_bytes,
        jobs: appliance.image_jobs,
    }
}

async fn console(conn: &mut Conn, appliance: &Appliance) -> Result<ConsoleModel, Error> {
    if appliance.role != Role::Proxy {
        return Ok(ConsoleModel::default());
    }
    let proxies = [("zone", appliance.zone.as_str()), ("role", "proxy")];
    let mut others: Vec<Appliance> = dynamic::load(conn, &proxies, ALL).await?;
    others.retain(|other| other.id != appliance.id);
    let machine = wanted::machine(conn, appliance.id.as_str()).await?;
    let other = |other: &Appliance| OtherProxy {
        id: other.id.clone(),
        origin: other.browsed_at(),
        draining: other.draining,
    };
    Ok(ConsoleModel {
        certificate: appliance.certificate_chain.zip(appliance.certificate_key),
        hosts: appliance.hosts.clone(),
        frame_ancestors: appliance.frame_ancestors.clone(),
        trusted_proxies: appliance.trusted_proxies.clone(),
        prefix: appliance.prefix.clone(),
        cookie_key: appliance.cookie_key,
        draining: appliance.draining,
        cannot_ask: machine.is_some_and(|machine| machine.cannot_ask),
        others: others.iter().map(other).collect(),
    })
}

fn private(gateway: PrivateGateway) -> PrivateModel {
    PrivateModel {
        link: gateway.link,
        physical_network: gateway.physical_network,
        vlan: gateway.vlan,
        address: gateway.address,
    }
}

async fn carriers(conn: &mut Conn, appliance: &Appliance) -> Result<Vec<Carrier>, Error> {
    let mut carriers = Vec::with_capacity(appliance.nics.len());
    for ApplianceNic { purpose, physical_network, link, mac } in &appliance.nics {
        let Some(id) = physical_network else { continue };
        let physical: PhysicalNetwork = dynamic::by_id(conn, id).await?;
        carriers.push(Carrier {
            physical_network: id.clone(),
            purpose: *purpose,
            link: link.clone(),
            mac: *mac,
            mtu: physical.mtu,
        });
    }
    Ok(carriers)
}

fn uplink(
    up: &Uplink,
    own: &[(&PublicIp, &PublicRange)],
    ranges: &[PublicRange],
) -> Result<UplinkModel, Error> {
    let ipv6 = up.ipv6.as_ref().and_then(|held| {
        let range = ranges.iter().find(|range| range.id == held.public_range)?;
        range.ipv6_at(held.offset)
    });
    let (_, range) = own.first().ok_or_else(|| Error::Corrupt {
        what: "uplink",
        reason: format!("{} has no address", up.link),
    })?;
    Ok(UplinkModel {
        link: up.link.clone(),
        physical_network: up.physical_network.clone(),
        vlan: up.vlan,
        gateway: range.gateway,
        ipv6,
        probe: range.probe.clone(),
    })
}

fn public_ip(up: &Uplink, ip: &PublicIp, range: &PublicRange) -> PublicIpModel {
    PublicIpModel {
        id: ip.id.clone(),
        address: ip.address,
        prefix: range.cidr.prefix(),
        link: up.link.clone(),
        network: ip.network.clone(),
        purpose: ip.purpose,
    }
}

async fn network_model(conn: &mut Conn, network: &Network) -> Result<NetworkModel, Error> {
    let link = network.link.clone().ok_or_else(|| Error::Corrupt {
        what: "network",
        reason: format!("{} has a router but no link", network.id),
    })?;
    let records: Vec<DnsRecord> =
        dynamic::load(conn, &[("network", network.id.as_str())], ALL).await?;
    Ok(NetworkModel {
        id: network.id.clone(),
        link,
        physical_network: network.physical_network.clone(),
        vlan: network.vlan,
        cidr: network.cidr,
        gateway: network.gateway,
        ranges: network.ranges.clone(),
        ipv6: network.ipv6_cidr,
        domain: network.domain.clone(),
        egress: network.egress,
        dhcp: network.dhcp(),
        dns: network.dns(records.into_iter().map(DnsRecord::served).collect()),
        mtu: network.mtu,
        source_nat: network.source_nat,
        acl: network.acl.clone(),
        guests: guest::served(conn, &network.id).await?,
    })
}
