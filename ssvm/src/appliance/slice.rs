//! From a configuration and its blobs to what the storage service is given.
//!
//! Guarantees: pure; a secret is in a type that prints as hidden. A blob that is missing, which only damage to the disk can
//! cause, leaves out what needs it and nothing else.

use std::net::SocketAddr;

use sluice_agent::Blobs;
use sluice_api::config::SsvmDocument;
use sluice_api::config::ssvm::{
    Gift, ImageStore, Job, Listener, PeerListener, Source, StoreKind as Kind, What,
};
use sluice_api::config::vpn::secret_of_blob;
use sluice_api::types::{BlobDigest, Secret, SourceUrl};
use sluice_sys::filesystem::NFS;

use super::Folders;
use crate::slice::{
    BucketService, GiftSlice, Listen, OwnIdentity, PeerListen, StorageSlice, StoreKind, StoreSlice,
};

/// The slice of the storage service.
pub fn slice(config: &SsvmDocument, blobs: &Blobs, folders: &Folders) -> StorageSlice {
    let role = &*config.role;
    // an appliance's name has the same form as an id
    let owner = config.appliance.as_str().parse();
    StorageSlice {
        owner: owner.unwrap_or_else(|_| fallback_owner()),
        journal: folders.journal(),
        stores: role.stores.iter().filter_map(|store| of_store(store, blobs, folders)).collect(),
        jobs: role.jobs.iter().filter_map(|job| of_job(job, blobs)).collect(),
        grants: role.grants.clone(),
        listen: role.listeners.iter().filter_map(|one| of_listener(one, blobs)).collect(),
        peers: role.peers.iter().map(|peer| of_peer(peer, blobs)).collect(),
        identities: role.jobs.iter().filter_map(|job| identity(job, blobs)).collect(),
        limits: role.limits.clone(),
        fetch: role.fetch.clone(),
        resolvers: role.resolvers.clone(),
        // by hand it may stand without the line before it
        proxy: role.fetch.proxy.and_then(|one| key(blobs, &one).or_else(|| secret(blobs, &one))),
        authorities: role
            .fetch
            .authorities
            .and_then(|digest| secret(blobs, &digest))
            .map_or_else(String::new, |text| text.reveal().to_owned()),
    }
}

/// The name of an appliance always parses as an id; this is what stands in its place otherwise.
#[allow(clippy::expect_used)]
fn fallback_owner() -> sluice_api::types::ObjectId {
    "ssvm".parse().expect("`ssvm` is a valid id")
}

fn of_store(store: &ImageStore, blobs: &Blobs, folders: &Folders) -> Option<StoreSlice> {
    let kind = match &store.kind {
        // NFS of any version has one magic number; it is less than 32 bits
        Kind::Nfs { .. } => StoreKind::Directory {
            path: folders.mount_point(&store.id),
            filesystem: u32::try_from(NFS).ok(),
        },
        Kind::Local {} => {
            StoreKind::Directory { path: folders.local_store(&store.id), filesystem: None }
        }
        Kind::S3 { staging, .. } | Kind::Swift { staging, .. } => StoreKind::Bucket {
            service: of_service(&store.kind, blobs)?,
            staging: staging.store.clone(),
            cache_bytes: staging.cache_bytes,
        },
    };
    Some(StoreSlice {
        id: store.id.clone(),
        kind,
        read_only: store.read_only,
        full_percent: store.full_percent,
    })
}

/// The object store with its keys in place of the blobs that hold them.
fn of_service(kind: &Kind, blobs: &Blobs) -> Option<BucketService> {
    match kind.clone() {
        Kind::Nfs { .. } | Kind::Local {} => None,
        Kind::S3 { endpoint, region, bucket, user, secret, .. } => {
            let secret = key(blobs, &secret)?;
            Some(BucketService::S3 { endpoint, region, bucket, user, secret })
        }
        Kind::Swift { endpoint, container, user, secret, temp_url_key, .. } => {
            let secret = key(blobs, &secret)?;
            let temp_url_key = temp_url_key.and_then(|digest| key(blobs, &digest));
            Some(BucketService::Swift { endpoint, container, user, secret, temp_url_key })
        }
    }
}

/// The secret of a blob whose first line is there to keep it from being guessed.
fn key(blobs: &Blobs, digest: &BlobDigest) -> Option<Secret> {
    secret_of_blob(blobs.get(digest)?.reveal()).map(Secret::new)
}

/// The job with its address in place of the blob that holds it.
fn of_job(job: &Job, blobs: &Blobs) -> Option<Job> {
    let mut job = job.clone();
    if let What::Import { source, .. } = &mut job.what
        && let Source::SecretUrl(digest) = source
    {
        let url: SourceUrl = secret(blobs, digest)?.reveal().trim().parse().ok()?;
        *source = Source::Url(url);
    }
    Some(job)
}

fn of_listener(listener: &Listener, blobs: &Blobs) -> Option<Listen> {
    let address = SocketAddr::new(listener.address, listener.port());
    let tls = match &listener.tls {
        // never plain where TLS was asked for
        Some(digest) => Some(secret(blobs, digest)?),
        None => None,
    };
    Some(Listen { address, tls })
}

/// What can be given there; a gift whose identity is missing cannot.
fn of_peer(peer: &PeerListener, blobs: &Blobs) -> PeerListen {
    let gift = |gift: &Gift| {
        let identity = secret(blobs, &gift.identity)?;
        let Gift { id, expires, store, place, .. } = gift.clone();
        Some(GiftSlice { id, identity, expires, store, place })
    };
    PeerListen { address: peer.socket(), gifts: peer.gifts.iter().filter_map(gift).collect() }
}

/// What a job shows to another appliance.
fn identity(job: &Job, blobs: &Blobs) -> Option<OwnIdentity> {
    let What::Import { source: Source::Peer(peer), .. } = &job.what else { return None };
    Some(OwnIdentity { digest: peer.identity, pem: secret(blobs, &peer.identity)? })
}

fn secret(blobs: &Blobs, digest: &BlobDigest) -> Option<Secret> {
    let text = std::str::from_utf8(blobs.get(digest)?.reveal()).ok()?;
    Some(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn example() -> SsvmDocument {
        SsvmDocument::decode(include_bytes!("../../../examples/ssvm.json")).unwrap().0
    }

    fn of(config: &SsvmDocument, blobs: &Blobs) -> StorageSlice {
        slice(config, blobs, &Folders::new(Path::new("/data"), Path::new(crate::appliance::STORES)))
    }

    #[test]
    fn the_example_becomes_a_sound_slice() {
        let slice = of(&example(), &Blobs::none());
        assert_eq!(crate::slice::check(&slice), Vec::<String>::new());
        assert_eq!(slice.owner.as_str(), "s-1");
        let StoreKind::Directory { path, filesystem } = &slice.stores[0].kind else { panic!() };
        assert_eq!(path, Path::new("/run/sluice/stores/nfs-1"));
        assert_eq!(*filesystem, Some(0x6969));
        assert_eq!(slice.listen[0].address.to_string(), "198.51.100.20:80");
        let text = serde_json::to_string(&slice).unwrap();
        assert_eq!(serde_json::from_str::<StorageSlice>(&text).unwrap(), slice);
    }

    #[test]
    fn a_secret_address_comes_out_of_its_blob_and_stays_hidden() {
        let text = "https://images.example.com/x?signature=hush";
        let mut config = example();
        let digest = BlobDigest::of(text.as_bytes());
        let What::Import { source, .. } = &mut config.role.jobs[0].what else { panic!() };
        *source = Source::SecretUrl(digest);
        let slice = of(&config, &Blobs::of([text.as_bytes().to_vec()]));
        let What::Import { source, .. } = &slice.jobs[0].what else { panic!() };
        assert_eq!(*source, Source::Url(text.parse().unwrap()));
        assert!(!format!("{slice:?}").contains("hush"));
        assert_eq!(of(&config, &Blobs::none()).jobs.len(), config.role.jobs.len() - 1);
    }

    #[test]
    fn a_proxy_comes_out_of_its_blob_and_stays_hidden() {
        let address = "http://bob:hush@192.0.2.20:3128";
        for text in [format!("random\n{address}"), address.to_owned()] {
            let mut config = example();
            config.role.fetch.proxy = Some(BlobDigest::of(text.as_bytes()));
            let slice = of(&config, &Blobs::of([text.into_bytes()]));
            assert_eq!(slice.proxy.as_ref().map(Secret::reveal), Some(address));
            assert!(!format!("{slice:?}").contains("hush"));
        }
    }

    #[test]
    fn a_listener_whose_certificate_is_missing_is_not_served_plain() {
        let mut config = example();
        config.role.listeners[0].tls = Some(BlobDigest::of(b"certificate"));
        assert_eq!(of(&config, &Blobs::none()).listen, []);
        let slice = of(&config, &Blobs::of([b"certificate".to_vec()]));
        assert_eq!(slice.listen[0].address.port(), 443);
    }
}
