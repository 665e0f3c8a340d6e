//! Links by rtnetlink.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
    Prop, State,
};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVlan};
use sluice_api::config::Attachment;
use sluice_api::types::{LinkName, MacAddr, VlanId};

use super::{dump, gone, refused};
use crate::kernel::{KernelError, Object};
use crate::model::{LINK_GROUP, ObservedLink, Step};

/// All links but loopback, and every link's name by its index, loopback included.
pub(super) struct Links {
    pub(super) links: BTreeMap<String, ObservedLink>,
    pub(super) names: BTreeMap<u32, String>,
}

/// Everything the kernel lists.
pub(super) async fn list(handle: &Handle) -> Result<Links, KernelError> {
    let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let listed = dump::dump(handle, question, "links").await?;
    let messages: Vec<LinkMessage> = listed
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })
        .collect();
    let names: BTreeMap<u32, String> = messages
        .iter()
        .filter_map(|message| Some((message.header.index, name(message)?)))
        .collect();
    let links = messages
        .iter()
        .filter(|message| message.header.link_layer_type != LinkLayerType::Loopback)
        .filter_map(|message| Some((name(message)?, observed(message, &names))))
        .collect();
    Ok(Links { links, names })
}

fn name(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn observed(message: &LinkMessage, names: &BTreeMap<u32, String>) -> ObservedLink {
    let mut link = ObservedLink {
        index: message.header.index,
        mac: None,
        permanent_mac: None,
        vlan: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: false,
        ours: false,
        altnames: BTreeSet::new(),
    };
    let (mut parent, mut tag) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => link.mac = mac_of(bytes),
            LinkAttribute::PermAddress(bytes) => link.permanent_mac = mac_of(bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Group(group) => link.ours = *group == LINK_GROUP,
            LinkAttribute::OperState(state) => {
                link.carrier = matches!(state, State::Up | State::Unknown);
            }
            LinkAttribute::Link(index) => parent = Some(*index),
            LinkAttribute::LinkInfo(infos) => tag = vlan_id(infos),
            LinkAttribute::PropList(props) => {
                link.altnames = props.iter().filter_map(altname).collect();
            }
            _ => {}
        }
    }
    let trunk = parent.and_then(|index| names.get(&index)).cloned();
    link.vlan = trunk.zip(tag);
    link
}

fn mac_of(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().and_then(MacAddr::from_bytes)
}

fn altname(prop: &Prop) -> Option<String> {
    match prop {
        Prop::AltIfName(name) => Some(name.clone()),
        _ => None,
    }
}

fn vlan_id(infos: &[LinkInfo]) -> Option<VlanId> {
    let is_vlan = infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Vlan)));
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vlan(data)) if is_vlan => Some(data),
        _ => None,
    })?;
    data.iter().find_map(|item| match item {
        InfoVlan::Id(id) => u64::from(*id).try_into().ok(),
        _ => None,
    })
}

/// The index of the link with this name.
pub(super) async fn index(
    handle: &Handle,
    name: &str,
    action: &'static str,
    object: impl FnOnce() -> Object,
) -> Result<u32, KernelError> {
    match nix::net::if_::if_nametoindex(name) {
        Ok(index) => Ok(index),
        Err(_) => by_message(handle, name, action, object).await,
    }
}

/// The Ethernet address of a link.
pub(super) async fn mac(handle: &Handle, name: &str) -> Option<MacAddr> {
    let mut found = Box::pin(handle.link().get().match_name(name.to_owned()).execute());
    let message = found.try_next().await.ok().flatten()?;
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => mac_of(bytes),
        _ => None,
    })
}

/// The thread may have moved to another namespace than the netlink socket's; then only netlink knows.
async fn by_message(
    handle: &Handle,
    name: &str,
    action: &'static str,
    object: impl FnOnce() -> Object,
) -> Result<u32, KernelError> {
    let mut found = Box::pin(handle.link().get().match_name(name.to_owned()).execute());
    match found.try_next().await {
        Ok(Some(message)) => Ok(message.header.index),
        _ => Err(KernelError::Missing {
            action,
            object: object(),
            missing: Object::Link(name.to_owned()),
        }),
    }
}

/// Carries out a link step.
pub(super) async fn apply(handle: &Handle, step: &Step) -> Result<(), KernelError> {
    match step {
        Step::Rename { from, to } => rename(handle, from, to).await,
        Step::CreateVlan { link, attach } => create_vlan(handle, link, attach).await,
        Step::DeleteLink { link } => delete(handle, link).await,
        Step::SetMac { link, mac } => {
            let bytes = mac.bytes().to_vec();
            set(handle, link.as_str(), "set the address of", |link| link.address(bytes)).await
        }
        Step::SetMtu { link, to, .. } => {
            let mtu = u32::from(to.get());
            set(handle, link.as_str(), "set the MTU of", |link| link.mtu(mtu)).await
        }
        Step::SetUp { link } => set(handle, link.as_str(), "set up", LinkMessageBuilder::up).await,
        Step::SetDown { link } => set(handle, link, "set down", LinkMessageBuilder::down).await,
        // the caller handles all others
        _ => Ok(()),
    }
}

type Builder = LinkMessageBuilder<LinkUnspec>;

async fn set(
    handle: &Handle,
    name: &str,
    action: &'static str,
    change: impl FnOnce(Builder) -> Builder + Send,
) -> Result<(), KernelError> {
    let object = || Object::Link(name.to_owned());
    let index = index(handle, name, action, object).await?;
    let message = change(LinkUnspec::new_with_index(index)).build();
    handle.link().set(message).execute().await.map_err(refused(action, object()))
}

/// Down, new name and group, in the order that also older kernels accept.
async fn rename(handle: &Handle, from: &str, to: &LinkName) -> Result<(), KernelError> {
    let action = "rename";
    set(handle, from, action, LinkMessageBuilder::down).await?;
    let name = to.to_string();
    set(handle, from, action, |link| link.name(name).link_group(LINK_GROUP)).await
}

async fn create_vlan(
    handle: &Handle,
    name: &LinkName,
    attach: &Attachment,
) -> Result<(), KernelError> {
    let object = || Object::Link(name.to_string());
    let Attachment::Vlan { trunk, id, mac } = attach else {
        let source = std::io::Error::from_raw_os_error(libc::EINVAL);
        return Err(super::failed("add", object(), source));
    };
    let trunk = index(handle, trunk.as_str(), "add", object).await?;
    let mut vlan = LinkVlan::new(name.as_str(), trunk, id.get()).link_group(LINK_GROUP);
    if let Some(mac) = mac {
        vlan = vlan.address(mac.bytes().to_vec());
    }
    handle.link().add(vlan.build()).execute().await.map_err(refused("add", object()))
}

async fn delete(handle: &Handle, name: &str) -> Result<(), KernelError> {
    let object = || Object::Link(name.to_owned());
    let Ok(index) = index(handle, name, "delete", object).await else { return Ok(()) };
    let answer = handle.link().del(index).execute().await;
    gone(answer, &[libc::ENODEV]).map_err(refused("delete", object()))
}
