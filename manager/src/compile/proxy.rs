//! Console proxies: where browsers come, the screens, who may see them, and the way to the hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sluice_api::config::{ConsoleCertificate, ConsoleGrant, ProxyDocument, Route, Screen};
use sluice_api::types::{Cidr, InterfaceAddress, ObjectId};

use super::{ApplianceModel, links};
use crate::error::Error;
use crate::kinds::{console_grant, dynamic, screen};
use crate::store::Conn;
use crate::store::objects::ALL;

/// Adds what a console proxy does. All proxies of a zone know its screens and grants.
pub(super) async fn add(
    conn: &mut Conn,
    model: &ApplianceModel,
    config: &mut ProxyDocument,
) -> Result<(), Error> {
    let zone = [("zone", model.zone.as_str())];
    let mut names = BTreeMap::new();
    for screen in dynamic::load::<screen::Screen>(conn, &zone, ALL).await? {
        names.insert(screen.id.clone(), screen.name.clone());
        config.role.screens.push(screen_of(screen));
    }
    for grant in dynamic::load::<console_grant::ConsoleGrant>(conn, &zone, ALL).await? {
        let vm = names.get(&grant.screen).cloned().ok_or_else(|| Error::Corrupt {
            what: "console grant",
            reason: format!("{} has no screen", grant.id),
        })?;
        config.role.grants.push(grant_of(model, grant, vm));
    }
    served(model, config);
    to_hosts(model, config)
}

fn grant_of(
    model: &ApplianceModel,
    grant: console_grant::ConsoleGrant,
    vm: ObjectId,
) -> ConsoleGrant {
    let home = model.console.others.iter().find(|other| other.id == grant.router);
    ConsoleGrant {
        home: home.and_then(|home| home.origin.clone()),
        source: grant.source(),
        limits: grant.limits(),
        taken: grant.taken,
        id: grant.id,
        token: grant.token,
        vm,
        user: grant.user,
        view_only: grant.view_only,
        expires: grant.expires,
        idle_seconds: grant.idle_seconds,
    }
}

fn screen_of(screen: screen::Screen) -> Screen {
    let tls = screen.tls();
    Screen {
        name: screen.title.unwrap_or_else(|| screen.name.to_string()),
        vm: screen.name,
        address: screen.address,
        port: screen.port,
        tls,
        unencrypted: screen.unencrypted,
        user: screen.user,
        password: screen.password,
        desktop_name: screen.desktop_name,
        state: screen.state,
    }
}

/// Browsers are served once there is a certificate, or a reverse proxy that has one, and a name to come to.
fn served(model: &ApplianceModel, config: &mut ProxyDocument) {
    let console = &model.console;
    let role = &mut config.role;
    role.hosts.clone_from(&console.hosts);
    role.frame_ancestors.clone_from(&console.frame_ancestors);
    role.trusted_proxies.clone_from(&console.trusted_proxies);
    role.prefix = console.prefix.clone();
    role.cookie_key = console.cookie_key;
    role.settings.draining = console.draining;
    role.settings.ask_manager = !console.cannot_ask;
    let others = console.others.iter().filter(|other| !other.draining);
    role.peers = others.filter_map(|other| other.origin.clone()).collect();
    role.certificates = console
        .certificate
        .iter()
        .map(|(chain, key)| ConsoleCertificate { chain: *chain, key: *key })
        .collect();
    let trusted = !role.certificates.is_empty() || !role.trusted_proxies.is_empty();
    if trusted && !role.hosts.is_empty() {
        role.listen = model.ips.iter().map(|ip| IpAddr::V4(ip.address)).collect();
    }
}

/// Hosts of VMs are on the control network's side: never by the default route to the Internet.
fn to_hosts(model: &ApplianceModel, config: &mut ProxyDocument) -> Result<(), Error> {
    let control = links::control_link()
        .map_err(|error| Error::Corrupt { what: "link name", reason: error.to_string() })?;
    if let Some(gateway) = model.control_gateway_ipv6 {
        let own = beside(model.control.ip(), gateway)?;
        let link = config.links.iter_mut().find(|link| link.name == control);
        if let Some(link) = link {
            link.addresses.push(own);
        }
    }
    let ipv4 = model.control_gateway.map(IpAddr::V4);
    let ipv6 = model.control_gateway_ipv6.map(|gateway| gateway.ip());
    let reached = |address: &IpAddr| {
        let own = config.links.iter().flat_map(|link| &link.addresses);
        own.map(InterfaceAddress::network).any(|network| network.contains(*address))
            || model.managers.iter().any(|network| network.contains(*address))
    };
    let hosts: BTreeSet<IpAddr> = config.role.screens.iter().map(|screen| screen.address).collect();
    let beyond = hosts.into_iter().filter(|host| !reached(host));
    let route = |host: IpAddr| {
        let via = if host.is_ipv4() { ipv4 } else { ipv6 }?;
        let (destination, link) = (Cidr::host(host), control.clone());
        Some(Route { destination, link, via: Some(via), metric: 0, table: None })
    };
    let routes: Vec<_> = beyond.filter_map(route).collect();
    config.routes.extend(routes);
    Ok(())
}

/// The IPv6 address of the appliance with this control address, in the network of `gateway`.
fn beside(control: IpAddr, gateway: InterfaceAddress) -> Result<InterfaceAddress, Error> {
    let corrupt = |reason: String| Error::Corrupt { what: "control address", reason };
    let (IpAddr::V4(own), IpAddr::V6(network)) = (control, gateway.network().network()) else {
        return Err(corrupt(format!("{control} beside {gateway}")));
    };
    let [a, b, c, d] = own.octets();
    let mut octets = network.octets();
    octets[12..].copy_from_slice(&[a, b, c, d]);
    InterfaceAddress::new(IpAddr::from(octets), gateway.prefix())
        .map_err(|error| corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appliances_ipv6_address_ends_in_its_control_address() {
        let beside = |gateway: &str| {
            let gateway: InterfaceAddress = gateway.parse().unwrap();
            beside(IpAddr::from([169, 254, 0, 10]), gateway).unwrap().to_string()
        };
        assert_eq!(beside("fd00:8::1/64"), "fd00:8::a9fe:a/64");
        assert_eq!(beside("2001:db8:1:2:3:4:0:1/96"), "2001:db8:1:2:3:4:a9fe:a/96");
    }
}
