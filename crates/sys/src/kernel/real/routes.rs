//! Routes of protocol 201 by rtnetlink; all others are neither listed nor touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};
use sluice_api::types::Cidr;

use super::{dump, gone, links, refused};
use crate::kernel::{KernelError, Object};
use crate::model::{ROUTE_PROTOCOL, RouteEntry};

fn ours() -> RouteProtocol {
    RouteProtocol::from(ROUTE_PROTOCOL)
}

/// Our unicast routes of both families and all tables.
pub(super) async fn list(
    handle: &Handle,
    names: &BTreeMap<u32, String>,
) -> Result<BTreeSet<RouteEntry>, KernelError> {
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new().table_id(0).build();
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new().table_id(0).build();
    let mut routes = BTreeSet::new();
    for family in [v4, v6] {
        let question = RouteNetlinkMessage::GetRoute(family);
        let listed = dump::dump(handle, question, "routes").await?;
        routes.extend(listed.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(route) if route.header.protocol == ours() => {
                entry(route, names)
            }
            _ => None,
        }));
    }
    Ok(routes)
}

fn entry(message: &RouteMessage, names: &BTreeMap<u32, String>) -> Option<RouteEntry> {
    let header = &message.header;
    let v4 = header.address_family == netlink_packet_route::AddressFamily::Inet;
    let mut network =
        if v4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let (mut metric, mut table) = (0, u32::from(header.table));
    let (mut link, mut via, mut source) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => network = ip(to)?,
            RouteAttribute::Gateway(hop) => via = ip(hop),
            RouteAttribute::PrefSource(from) => source = ip(from),
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Oif(index) => link = names.get(index),
            _ => {}
        }
    }
    let destination: Cidr =
        format!("{network}/{}", header.destination_prefix_length).parse().ok()?;
    Some(RouteEntry { table, destination, metric, link: link?.parse().ok()?, via, source })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn message(route: &RouteEntry, index: u32) -> RouteMessage {
    let mut message = if route.destination.is_ipv4() {
        RouteMessageBuilder::<Ipv4Addr>::new().build()
    } else {
        RouteMessageBuilder::<Ipv6Addr>::new().build()
    };
    let header = &mut message.header;
    header.protocol = ours();
    header.kind = RouteType::Unicast;
    header.destination_prefix_length = route.destination.prefix();
    // IPv4 refuses a direct route with a wider scope; IPv6 ignores scopes
    let direct = route.via.is_none() && route.destination.is_ipv4();
    header.scope = if direct { RouteScope::Link } else { RouteScope::Universe };
    header.table = u8::try_from(route.table).unwrap_or(0);
    let mut attributes = vec![
        RouteAttribute::Destination(route.destination.network().into()),
        RouteAttribute::Oif(index),
        RouteAttribute::Table(route.table),
    ];
    attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    message.attributes = attributes;
    message
}

/// Adds a route; refuses when its slot is taken, whoever holds it.
pub(super) async fn add(handle: &Handle, route: &RouteEntry) -> Result<(), KernelError> {
    let object = || Object::Route(route.clone().into());
    let index = links::index(handle, route.link.as_str(), "add", object).await?;
    let request = handle.route().add(message(route, index));
    request.execute().await.map_err(refused("add", object()))
}

/// Puts a route in the place of one of ours. IPv4 replaces whatever holds the slot, which is ours as was just seen; for
/// IPv6 the old one goes after the new one came, since there two next hops may stand side by side.
pub(super) async fn change(
    handle: &Handle,
    from: &RouteEntry,
    to: &RouteEntry,
) -> Result<(), KernelError> {
    let same_hop = (&from.via, &from.link) == (&to.via, &to.link);
    if !to.destination.is_ipv4() && !same_hop {
        add(handle, to).await?;
        return remove(handle, from).await;
    }
    let object = || Object::Route(to.clone().into());
    let index = links::index(handle, to.link.as_str(), "change", object).await?;
    let request = handle.route().add(message(to, index)).replace();
    request.execute().await.map_err(refused("change", object()))
}

/// Removes a route; the kernel compares the protocol too, so a foreign one in its place stays.
pub(super) async fn remove(handle: &Handle, route: &RouteEntry) -> Result<(), KernelError> {
    let object = || Object::Route(route.clone().into());
    let Ok(index) = links::index(handle, route.link.as_str(), "remove", object).await else {
        return Ok(());
    };
    let answer = handle.route().del(message(route, index)).execute().await;
    gone(answer, &[libc::ESRCH, libc::ENODEV]).map_err(refused("remove", object()))
}
