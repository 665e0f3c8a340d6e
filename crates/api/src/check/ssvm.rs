//! Storage: what is named exists, no two jobs race for one object, and servers listen on addresses of their own.

use std::collections::BTreeMap;

use super::Scope;
use crate::config::ssvm::{ImageStore, Job, Permission, Place, Source, StoreKind, What};
use crate::config::{LinkRole, SsvmConfig};
use crate::types::ObjectId;

/// Most jobs at once: what each tells of itself must fit into a service's report.
const MAX_JOBS: usize = 128;

impl SsvmConfig {
    pub(crate) fn check(&self, scope: &mut Scope<'_>) {
        if self.jobs.len() > MAX_JOBS {
            let reason = format!("{} jobs are more than {MAX_JOBS}", self.jobs.len());
            scope.error("jobs", "too-many", reason);
        }
        ids(scope, "stores", self.stores.iter().map(|store| &store.id));
        ids(scope, "jobs", self.jobs.iter().map(|job| &job.id));
        ids(scope, "grants", self.grants.iter().map(|grant| &grant.id));
        staging(scope, self);
        jobs(scope, self);
        grants(scope, self);
        listeners(scope, self);
        peers(scope, self);
    }
}

fn ids<'a>(scope: &mut Scope<'_>, list: &str, ids: impl Iterator<Item = &'a ObjectId>) {
    let each = ids.enumerate().map(|(at, id)| (id, format!("{list}[{at}].id")));
    scope.unique("id", "duplicate-id", each);
}

fn store<'a>(config: &'a SsvmConfig, id: &ObjectId) -> Option<&'a ImageStore> {
    config.stores.iter().find(|store| store.id == *id)
}

/// Images are put together on files that can be written at any place of them.
fn staging(scope: &mut Scope<'_>, config: &SsvmConfig) {
    for (at, one) in config.stores.iter().enumerate() {
        let Some(staging) = one.kind.staging() else { continue };
        let name = if matches!(one.kind, StoreKind::S3 { .. }) { "s3" } else { "swift" };
        let path = format!("stores[{at}].kind.{name}.staging.store");
        match store(config, &staging.store) {
            None => unknown_store(scope, path, &staging.store),
            Some(other) if other.kind.staging().is_some() => {
                let reason = format!("{} is an object store itself", other.id);
                scope.error(path, "staging-store", reason);
            }
            Some(other) if other.read_only => {
                scope.error(path, "read-only-store", format!("store {} is read-only", other.id));
            }
            Some(_) => {}
        }
    }
}

/// What an import says besides where it goes.
fn import(scope: &mut Scope<'_>, config: &SsvmConfig, path: &str, job: &Job) {
    if let Some((other, place)) = job.copied() {
        if store(config, other).is_none() {
            unknown_store(scope, format!("{path}.source.object.store"), other);
        }
        if (other, place) == (job.store(), job.place()) {
            let reason = "an object is not copied onto itself";
            scope.error(format!("{path}.source.object.place"), "same-place", reason);
        }
    }
    let in_place = matches!(job.what, What::Import { source: Source::InPlace, .. });
    if in_place && store(config, job.store()).is_some_and(|store| store.kind.staging().is_some()) {
        let reason = format!("{} is an object store; take over what is on files", job.store());
        scope.error(format!("{path}.source"), "in-place-store", reason);
    }
    if let What::Import { source: Source::Peer(_), checksum: None, .. } = &job.what {
        let reason = "what comes from another appliance is compared: the checksum must be given";
        scope.error(format!("{path}.checksum"), "peer-checksum", reason);
    }
    if let What::Import { layout: Some(layout), format, .. } = &job.what
        && *format != Some(layout.format())
    {
        let reason = format!("is a layout of {}, which must be the format", layout.format());
        scope.error(format!("{path}.layout"), "layout-format", reason);
    }
    if let What::Import { parent: Some(parent), place, .. } = &job.what {
        let reason = match place {
            Place::Snapshot { name, .. } if name != parent => return,
            Place::Snapshot { .. } => "a snapshot is not its own parent",
            Place::Template { .. } | Place::Volume { .. } => "only a snapshot has a parent",
        };
        scope.error(format!("{path}.parent"), "parent", reason);
    }
}

fn jobs(scope: &mut Scope<'_>, config: &SsvmConfig) {
    let mut places = BTreeMap::new();
    for (at, job) in config.jobs.iter().enumerate() {
        let kind = match job.what {
            What::Import { .. } => "import",
            What::Delete { .. } => "delete",
        };
        let path = format!("jobs[{at}].what.{kind}");
        match store(config, job.store()) {
            None => unknown_store(scope, format!("{path}.store"), job.store()),
            Some(store) if store.read_only => {
                let reason = format!("store {} is read-only", store.id);
                scope.error(format!("{path}.store"), "read-only-store", reason);
            }
            Some(_) => {}
        }
        import(scope, config, &path, job);
        if let Some(first) = places.insert((job.store(), job.place()), at) {
            let reason = format!("{} is already what jobs[{first}] is about", job.place());
            scope.error(format!("{path}.place"), "duplicate-place", reason);
        }
    }
}

fn unknown_store(scope: &mut Scope<'_>, path: String, id: &ObjectId) {
    scope.error(path, "unknown-store", format!("there is no store {id}"));
}

fn grants(scope: &mut Scope<'_>, config: &SsvmConfig) {
    let tokens = config.grants.iter().enumerate();
    let tokens = tokens.map(|(at, grant)| (grant.token, format!("grants[{at}].token")));
    scope.unique("token", "duplicate-token", tokens);
    for (at, grant) in config.grants.iter().enumerate() {
        match &grant.permission {
            Permission::Upload { job, .. } => {
                let job = config.jobs.iter().find(|other| other.id == *job);
                if !job.is_some_and(awaits_upload) {
                    let path = format!("grants[{at}].permission.upload.job");
                    scope.error(path, "unknown-job", "no job of that id waits for an upload");
                }
            }
            Permission::Download { store: id, .. } => {
                if store(config, id).is_none() {
                    unknown_store(scope, format!("grants[{at}].permission.download.store"), id);
                }
            }
        }
    }
}

fn awaits_upload(job: &Job) -> bool {
    matches!(job.what, What::Import { source: Source::Upload, .. })
}

/// Objects are given at addresses of our own, each under a name of its own.
fn peers(scope: &mut Scope<'_>, config: &SsvmConfig) {
    if config.peers.is_empty() {
        return;
    }
    let names = config.peers.iter().enumerate().flat_map(|(at, peer)| {
        let each = peer.gifts.iter().enumerate();
        each.map(move |(number, gift)| (&gift.id, format!("peers[{at}].gifts[{number}].id")))
    });
    scope.unique("id", "duplicate-id", names);
    let of_listeners = config.listeners.iter().enumerate().map(|(at, one)| {
        (std::net::SocketAddr::new(one.address, one.port()), format!("listeners[{at}]"))
    });
    let of_peers = config.peers.iter().enumerate();
    let of_peers = of_peers.map(|(at, peer)| (peer.socket(), format!("peers[{at}]")));
    scope.unique("socket", "duplicate-id", of_listeners.chain(of_peers));
    for (at, peer) in config.peers.iter().enumerate() {
        let path = format!("peers[{at}]");
        for (number, gift) in peer.gifts.iter().enumerate() {
            if store(config, &gift.store).is_none() {
                unknown_store(scope, format!("{path}.gifts[{number}].store"), &gift.store);
            }
        }
        let Some(link) = scope.link(&peer.link, &format!("{path}.link")) else { continue };
        if matches!(link.role, LinkRole::Control | LinkRole::Trunk) {
            let reason = format!("no other appliance comes to link {}", link.name);
            scope.error(format!("{path}.link"), "link-role", reason);
        }
        if !link.addresses.iter().any(|own| own.ip() == peer.address) {
            let reason = format!("{} is not an address of link {}", peer.address, link.name);
            scope.error(format!("{path}.address"), "not-own-address", reason);
        }
    }
}

fn listeners(scope: &mut Scope<'_>, config: &SsvmConfig) {
    let each = config.listeners.iter().enumerate();
    let sockets = each.clone().map(|(at, listener)| {
        (std::net::SocketAddr::new(listener.address, listener.port()), format!("listeners[{at}]"))
    });
    scope.unique("socket", "duplicate-id", sockets);
    for (at, listener) in each {
        let path = format!("listeners[{at}]");
        let Some(link) = scope.link(&listener.link, &format!("{path}.link")) else { continue };
        if matches!(link.role, LinkRole::Control | LinkRole::Trunk | LinkRole::Storage) {
            let reason = format!("nobody comes to link {} for images", link.name);
            scope.error(format!("{path}.link"), "link-role", reason);
        }
        if !link.addresses.iter().any(|own| own.ip() == listener.address) {
            let reason = format!("{} is not an address of link {}", listener.address, link.name);
            scope.error(format!("{path}.address"), "not-own-address", reason);
        }
    }
}
