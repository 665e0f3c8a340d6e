//! Addresses by rtnetlink.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::{AddressMessageBuilder, Handle};
use sluice_api::types::InterfaceAddress;

use super::{dump, gone, links, refused};
use crate::kernel::{KernelError, Object};

/// Global addresses on all links but loopback. The kernel's own link-local IPv6 ones are not ours to judge.
pub(super) async fn list(
    handle: &Handle,
    names: &BTreeMap<u32, String>,
) -> Result<BTreeSet<(String, InterfaceAddress)>, KernelError> {
    let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let listed = dump::dump(handle, question, "addresses").await?;
    let messages: Vec<AddressMessage> = listed
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address) => Some(address),
            _ => None,
        })
        .collect();
    let seen = messages.iter().filter(|message| message.header.scope == AddressScope::Universe);
    Ok(seen
        .filter_map(|message| {
            let name = names.get(&message.header.index).filter(|name| name.as_str() != "lo")?;
            // an address that no configuration could hold is foreign, and left alone as such
            let address =
                InterfaceAddress::new(address(message)?, message.header.prefix_len).ok()?;
            Some((name.clone(), address))
        })
        .collect())
}

fn address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    // IPv6 has no local part unless there is a peer
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

/// Adds an address. IPv6 ones skip duplicate address detection: the manager's store already made them unique.
pub(super) async fn add(
    handle: &Handle,
    link: &str,
    address: InterfaceAddress,
) -> Result<(), KernelError> {
    let object = || Object::Address(link.to_owned(), address);
    let index = links::index(handle, link, "add", object).await?;
    let mut request = handle.address().add(index, address.ip(), address.prefix());
    if address.ip().is_ipv6() {
        request.message_mut().header.flags |=
            netlink_packet_route::address::AddressHeaderFlags::Nodad;
    }
    request.execute().await.map_err(refused("add", object()))
}

/// Removes an address; one that is gone already, or whose link is, is fine.
pub(super) async fn remove(
    handle: &Handle,
    link: &str,
    address: InterfaceAddress,
) -> Result<(), KernelError> {
    let object = || Object::Address(link.to_owned(), address);
    let Ok(index) = links::index(handle, link, "remove", object).await else { return Ok(()) };
    let prefix = address.prefix();
    let message = match address.ip() {
        IpAddr::V4(ip) => AddressMessageBuilder::<std::net::Ipv4Addr>::new()
            .index(index)
            .address(ip, prefix)
            .build(),
        IpAddr::V6(ip) => AddressMessageBuilder::<std::net::Ipv6Addr>::new()
            .index(index)
            .address(ip, prefix)
            .build(),
    };
    let answer = handle.address().del(message).execute().await;
    gone(answer, &[libc::EADDRNOTAVAIL, libc::ENODEV]).map_err(refused("remove", object()))
}
