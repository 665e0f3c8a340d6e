//! The secondary storage VM as the agent sees it.
//!
//! Guarantees: the storage service has a user of its own, sees the stores and its journal and nothing else of the machine,
//! and reaches no other process. File servers are mounted by the agent beside it: one that does not answer delays nothing
//! but its own store.

mod compile;
mod mounter;
mod mounts;
mod slice;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use sluice_agent::{Appliance, Blobs, ServiceName, ServiceSlice, ServiceSpec};
use sluice_api::boot::Role;
use sluice_api::config::SsvmDocument;
use sluice_api::config::ssvm::{IMAGE_LAYOUTS, IMAGE_PEERS, IMAGE_PROXY, StoreKind};
use sluice_api::types::ObjectId;
use sluice_sys::model::Desired;
use sluice_sys::process::{Capability, Profile};

pub use compile::desired;
use mounter::Mounter;
pub use mounts::wanted;
pub use slice::slice;

use crate::fetch::AUTHORITIES;

/// The storage service.
pub const STORAGE: ServiceName = ServiceName("storage");
/// Its user; nothing else on the machine has it.
pub const USER: u32 = 64_021;

/// Where file servers are mounted.
pub const STORES: &str = "/run/sluice/stores";

/// Folders of the service.
#[derive(Clone, Debug)]
pub struct Folders {
    data: PathBuf,
    stores: PathBuf,
}

impl Folders {
    /// Those on the data partition mounted at `data`, with file servers mounted below `stores`.
    pub fn new(data: &Path, stores: &Path) -> Self {
        Self { data: data.join("storage"), stores: stores.to_owned() }
    }

    fn journal(&self) -> PathBuf {
        self.data.join("journal")
    }

    fn local(&self) -> PathBuf {
        self.data.join("local")
    }

    /// Where a store of kind `local` is.
    fn local_store(&self, id: &ObjectId) -> PathBuf {
        self.local().join(id.as_str())
    }

    /// Where a file server is mounted.
    fn mount_point(&self, id: &ObjectId) -> PathBuf {
        self.stores.join(id.as_str())
    }

    fn make(&self) -> io::Result<()> {
        [self.journal(), self.local()].iter().try_for_each(|folder| own_folder(folder))?;
        sluice_sys::mounts::shared_folder(&self.stores)
    }
}

/// Makes a folder of the service's own.
fn own_folder(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    chown(folder, Some(USER), Some(USER))
}

/// The secondary storage VM.
pub struct Ssvm {
    folders: Folders,
    mounter: Mounter,
}

impl Ssvm {
    /// One with these folders, which are made; ready to mount file servers.
    ///
    /// Errors: the folders cannot be made.
    pub fn new(folders: Folders) -> io::Result<Self> {
        folders.make()?;
        Ok(Self { mounter: Mounter::start(folders.clone()), folders })
    }
}

impl Appliance for Ssvm {
    type Config = SsvmDocument;

    const ROLE: Role = Role::Ssvm;

    fn desired(&self, config: &SsvmDocument) -> Desired {
        desired(config)
    }

    fn entering(&self, config: Option<&SsvmDocument>) {
        for store in config.iter().flat_map(|config| &config.role.stores) {
            if matches!(store.kind, StoreKind::Local {})
                && let Err(error) = own_folder(&self.folders.local_store(&store.id))
            {
                tracing::error!(store = %store.id, %error, "local store not made");
            }
        }
        self.mounter.want(config.map(wanted).unwrap_or_default());
    }

    fn services(
        &self,
        config: &SsvmDocument,
        blobs: &Blobs,
    ) -> BTreeMap<ServiceName, ServiceSlice> {
        let slice = slice(config, blobs, &self.folders);
        BTreeMap::from([(STORAGE, ServiceSlice::of(&slice))])
    }

    fn capabilities(&self) -> Vec<&'static str> {
        vec![IMAGE_LAYOUTS, IMAGE_PEERS, IMAGE_PROXY]
    }

    fn service(&self, _: ServiceName) -> ServiceSpec {
        // uploads and downloads are served on ports 80 and 443
        let mut spec = ServiceSpec::own(USER).with_capabilities([Capability::NetBindService]);
        spec.profile = Profile::StorageService;
        spec.reads = vec![PathBuf::from(AUTHORITIES)];
        spec.reads.retain(|path| path.exists());
        spec.writes =
            vec![self.folders.journal(), self.folders.local(), self.folders.stores.clone()];
        spec
    }
}
