//! Secondary storage: stores, images to be brought in, grants, and where they are served.

use std::net::IpAddr;

use sluice_api::config::ssvm::{Grant, ImageStore, Listener, PeerListener, Permission};
use sluice_api::config::{SsvmConfig, SsvmDocument};

use super::{ApplianceModel, ImportsModel};
use crate::error::Error;
use crate::kinds::image_grant::{ImageGrant, ImagePermission};
use crate::kinds::{dynamic, image, image_store};
use crate::store::Conn;
use crate::store::objects::ALL;

/// Adds what a secondary storage VM does.
pub(super) async fn add(
    conn: &mut Conn,
    model: &ApplianceModel,
    config: &mut SsvmDocument,
) -> Result<(), Error> {
    let own = [("router", model.appliance.as_str())];
    let role = &mut config.role;
    role.resolvers.clone_from(&model.resolvers);
    // nothing is fetched from where the cloud's own machines talk to each other
    role.fetch.refused = vec![model.control.network()];
    role.fetch.refused.extend(model.storage_address.map(|address| address.network()));
    imports(&model.imports, role);
    let mut handing_out = Vec::new();
    for store in dynamic::load::<image_store::ImageStore>(conn, &own, ALL).await? {
        let kind = store.kind();
        if store.hands_out_addresses().is_ok() {
            handing_out.push(store.id.clone());
        }
        let image_store::ImageStore { id, read_only, full_percent, .. } = store;
        role.stores.push(ImageStore { id, kind, read_only, full_percent });
    }
    for image in dynamic::load::<image::Image>(conn, &own, ALL).await? {
        role.limits.object_bytes = role.limits.object_bytes.max(image.most_bytes);
        role.jobs.extend(image.job());
    }
    let given = [("peer", model.appliance.as_str())];
    for image in dynamic::load::<image::Image>(conn, &given, ALL).await? {
        give(model, &mut role.peers, &image);
    }
    for grant in dynamic::load::<ImageGrant>(conn, &own, ALL).await? {
        let image: image::Image = dynamic::by_id(conn, &grant.image).await?;
        let sent_on = handing_out.contains(&image.image_store);
        role.grants.extend(grant_of(grant, &image, sent_on));
    }
    role.listeners = model.certificate.iter().flat_map(|tls| listeners(model, *tls)).collect();
    Ok(())
}

/// How images are brought in: what is not said is as the contract has it.
fn imports(model: &ImportsModel, role: &mut SsvmConfig) {
    let (fetch, limits) = (&mut role.fetch, &mut role.limits);
    fetch.allowed.clone_from(&model.allowed);
    (fetch.proxy, fetch.authorities) = (model.proxy, model.authorities);
    if !model.ports.is_empty() {
        fetch.ports = model.ports.iter().map(|port| port.get()).collect();
    }
    limits.virtual_bytes = model.disk_bytes.unwrap_or(limits.virtual_bytes);
    limits.unpack_bytes = model.unpack_bytes.unwrap_or(limits.unpack_bytes);
    limits.jobs = model.jobs.unwrap_or(limits.jobs);
}

/// What another appliance is to have, at the address that it was told.
fn give(model: &ApplianceModel, peers: &mut Vec<PeerListener>, image: &image::Image) {
    let Some((socket, gift)) = image.gift() else { return };
    let (address, gifts) = (socket.ip(), vec![gift]);
    if let Some(peer) = peers.iter_mut().find(|peer| peer.address == address) {
        peer.gifts.extend(gifts);
    } else if let Some(link) = model.link_with(address) {
        peers.push(PeerListener { link, address, port: None, gifts });
    }
}

/// None: nobody sends what is there, or fetches what is being removed. Who comes is `sent_on` to the store itself where that
/// still gives addresses.
fn grant_of(grant: ImageGrant, image: &image::Image, sent_on: bool) -> Option<Grant> {
    if image.erased {
        return None;
    }
    let permission = match grant.permission {
        ImagePermission::Upload => {
            Permission::Upload { job: image.job()?.id, most_bytes: grant.most_bytes }
        }
        ImagePermission::Download => Permission::Download {
            store: image.image_store.clone(),
            place: image.place(),
            file_name: None,
            most_downloads: grant.most_downloads,
            bytes_per_second: grant.bytes_per_second,
            redirect_seconds: grant.redirect_seconds.filter(|_| sent_on),
        },
    };
    Some(Grant { id: grant.id, token: grant.token, expires: grant.expires, permission })
}

/// Its public addresses; without a certificate nobody is served, for tokens are no secret on plain HTTP.
fn listeners(
    model: &ApplianceModel,
    tls: sluice_api::types::BlobDigest,
) -> impl Iterator<Item = Listener> {
    model.ips.iter().map(move |ip| Listener {
        link: ip.link.clone(),
        address: IpAddr::V4(ip.address),
        port: None,
        tls: Some(tls),
    })
}
