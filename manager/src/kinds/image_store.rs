//! Image stores: where a secondary storage VM keeps templates, ISOs, volumes and snapshots.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_api::boot::Role;
use sluice_api::config::ssvm::{NfsVersion, StoreKind};
use sluice_api::types::{ApplianceId, ExportPath, ObjectId, Percent};
use utoipa::ToSchema;

use super::appliance::Appliance;
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, named, of_router, rule};
use crate::error::Error;

/// An image store; fields as in [`ImageStoreSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StoreOfImages)]
pub struct ImageStore {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the secondary storage VM.
    pub router: ApplianceId,
    /// Address of the file server; none: the appliance's own disk.
    #[schema(value_type = Option<String>)]
    pub server: Option<IpAddr>,
    /// Path of the export.
    pub path: Option<ExportPath>,
    /// Version of NFS.
    pub nfs_version: NfsVersion,
    /// Is nothing written, changed or deleted on it?
    pub read_only: bool,
    /// No new object is begun when more than so many percent of it are used.
    pub full_percent: Percent,
}

/// An image store to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageStoreSpec {
    /// Zone, by name or id.
    pub zone: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Secondary storage VM, by name or id. Default: the zone's only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<ObjectId>,
    /// Address of an NFS server. Default: the store is on the appliance's own disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.4.0.10")]
    pub server: Option<IpAddr>,
    /// Path of its export; required with `server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<ExportPath>,
    /// Version of NFS. Default 4.2.
    #[serde(default)]
    pub nfs_version: NfsVersion,
    /// Is nothing written, changed or deleted on it? Default false.
    #[serde(default)]
    pub read_only: bool,
    /// No new object is begun when more than so many percent of it are used. Default 90.
    #[serde(default = "ninety")]
    pub full_percent: Percent,
}

/// Changes to an image store; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageStorePatch {
    /// Whether nothing is written, changed or deleted on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// New bound of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_percent: Option<Percent>,
}

fn ninety() -> Percent {
    Percent::NINETY
}

impl Kind for ImageStore {
    const NAMES: Names = Names {
        word: "image store",
        plural: "image stores",
        prefix: "is",
        about: "Where secondary storage VMs keep images",
    };
    const KEYS: &'static [Key] = &[Key::to("zone", "zone"), Key::to("router", "appliance")];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("APPLIANCE", "/router"),
        ("SERVER", "/server"),
        ("PATH", "/path"),
        ("READ ONLY", "/read_only"),
    ];

    type Spec = ImageStoreSpec;
    type Patch = ImageStorePatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: ImageStoreSpec,
    ) -> Result<Self, Error> {
        let zone: Zone = context.find(None, &spec.zone).await?;
        let router = ssvm(context, &zone, spec.router.as_ref()).await?;
        if spec.server.is_some() != spec.path.is_some() {
            return Err(rule::invalid("path", "server and path are given together"));
        }
        Ok(Self {
            id,
            name: spec.name,
            zone: zone.id,
            router,
            server: spec.server,
            path: spec.path,
            nfs_version: spec.nfs_version,
            read_only: spec.read_only,
            full_percent: spec.full_percent,
        })
    }

    async fn update(&mut self, _: &mut Context<'_>, patch: ImageStorePatch) -> Result<(), Error> {
        self.read_only = patch.read_only.unwrap_or(self.read_only);
        self.full_percent = patch.full_percent.unwrap_or(self.full_percent);
        Ok(())
    }
}

/// The named secondary storage VM of the zone, or its only one.
async fn ssvm(
    context: &mut Context<'_>,
    zone: &Zone,
    name: Option<&ObjectId>,
) -> Result<ApplianceId, Error> {
    if let Some(name) = name {
        let found: Appliance = context.find(Some(&zone.id), name).await?;
        if found.role == Role::Ssvm {
            return Ok(found.id);
        }
        let reason = format!("{} is no secondary storage VM", found.name);
        return Err(rule::invalid("router", reason));
    }
    let own = [("zone", zone.id.as_str()), ("role", "ssvm")];
    let mut all = context.all::<Appliance>(&own).await?;
    let count = all.len();
    let only = all.pop().filter(|_| count == 1);
    only.map(|appliance| appliance.id).ok_or_else(|| {
        let reason = format!("must be given: zone {} has {count} secondary storage VMs", zone.name);
        rule::invalid("router", reason)
    })
}

impl ImageStore {
    /// What it is, in a configuration's words.
    pub(crate) fn kind(&self) -> StoreKind {
        match (self.server, &self.path) {
            (Some(server), Some(path)) => {
                StoreKind::Nfs { server, path: path.clone(), version: self.nfs_version }
            }
            _ => StoreKind::Local {},
        }
    }
}
