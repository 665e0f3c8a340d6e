//! Which file servers a configuration wants mounted.

use std::collections::BTreeMap;

use sluice_api::config::SsvmDocument;
use sluice_api::config::ssvm::{ImageStore, StoreKind};
use sluice_api::types::ObjectId;
use sluice_sys::mounts::NfsMount;

/// The mounts of a configuration, by store.
pub fn wanted(config: &SsvmDocument) -> BTreeMap<ObjectId, NfsMount> {
    let of = |store: &ImageStore| match &store.kind {
        StoreKind::Nfs { server, path, version } => Some((
            store.id.clone(),
            NfsMount {
                server: *server,
                path: path.to_string(),
                version: version.as_str(),
                read_only: store.read_only,
            },
        )),
        StoreKind::Local {} | StoreKind::S3 { .. } | StoreKind::Swift { .. } => None,
    };
    config.role.stores.iter().filter_map(of).collect()
}
