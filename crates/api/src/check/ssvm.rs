//! Storage: what is named exists, no two jobs race for one object, and servers listen on addresses of their own.

use std::collections::BTreeMap;

use super::Scope;
use crate::config::ssvm::{ImageStore, Job, Permission, Source, What};
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
        jobs(scope, self);
        grants(scope, self);
        listeners(scope, self);
    }
}

fn ids<'a>(scope: &mut Scope<'_>, list: &str, ids: impl Iterator<Item = &'a ObjectId>) {
    let each = ids.enumerate().map(|(at, id)| (id, format!("{list}[{at}].id")));
    scope.unique("id", "duplicate-id", each);
}

fn store<'a>(config: &'a SsvmConfig, id: &ObjectId) -> Option<&'a ImageStore> {
    config.stores.iter().find(|store| store.id == *id)
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
