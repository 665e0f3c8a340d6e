//! Image stores: where a secondary storage VM keeps templates, ISOs, volumes and snapshots.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_api::boot::Role;
use sluice_api::config::ssvm::{NfsVersion, Staging, StoreKind};
use sluice_api::types::{
    ApplianceId, BlobDigest, BucketName, ExportPath, ObjectId, Percent, Secret, SourceUrl,
    StoreUser,
};
use utoipa::ToSchema;

use super::image::ImageSpec;
use super::image_state::ImageStoreState;
use super::patch::stated;
use super::zone::Zone;
use super::{Column, Context, Key, Kind, Names, dynamic, named, of_router, role, rule};
use crate::error::Error;
use crate::store::reports::{self, Reports};

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
    /// Address of an object store; none: it is none.
    #[serde(default)]
    pub endpoint: Option<SourceUrl>,
    /// Which protocol an object store speaks.
    #[serde(default)]
    pub protocol: ObjectProtocol,
    /// Bucket or container.
    #[serde(default)]
    pub bucket: Option<BucketName>,
    /// Region of a bucket.
    #[serde(default)]
    pub region: Option<StoreUser>,
    /// Access key or user.
    #[serde(default)]
    pub user: Option<StoreUser>,
    /// Digest of the secret key.
    #[serde(default)]
    pub secret: Option<BlobDigest>,
    /// Digest of the key for temporary addresses.
    #[serde(default)]
    pub temp_url_key: Option<BlobDigest>,
    /// Id of the store in front of an object store.
    #[serde(default)]
    pub staging: Option<ObjectId>,
    /// Most bytes of images that stay there.
    #[serde(default = "cache_bytes")]
    pub cache_bytes: u64,
    /// Most bytes of one image on it.
    #[serde(default = "most_bytes")]
    pub most_bytes: u64,
    /// Most bytes of all images of one account on it; none: any.
    #[serde(default)]
    pub account_bytes: Option<u64>,
    /// What its appliance last said of it; none: nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<ImageStoreState>,
}

/// What an object store speaks.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectProtocol {
    /// S3, with signatures of version 4.
    #[default]
    S3,
    /// `OpenStack` Swift, with version 1 of its authentication.
    Swift,
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
    /// Address of an object store: of S3 where the bucket is, of Swift where tokens are given. Default: it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SourceUrl>,
    /// Which protocol an object store speaks. Default: s3.
    #[serde(default)]
    pub protocol: ObjectProtocol,
    /// Bucket or container, which must be there; required with `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketName>,
    /// Region of a bucket. Default us-east-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<StoreUser>,
    /// Access key of S3, user of Swift such as account:user; required with `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<StoreUser>,
    /// Its secret key; required with `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// Key of a Swift account for temporary addresses. Default: links lead to the appliance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temp_url_key: Option<Secret>,
    /// Store in front of an object store, by name or id: images are put together there; required with `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staging: Option<ObjectId>,
    /// Most bytes of images that stay on the store in front. Default 20 GiB.
    #[serde(default = "cache_bytes")]
    pub cache_bytes: u64,
    /// Most bytes of one image on it (max.template.iso.size). Default 50 GiB.
    #[serde(default = "most_bytes")]
    pub most_bytes: u64,
    /// Most bytes of all images of one account on it (max.account.secondary.storage). Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_bytes: Option<u64>,
}

/// Changes to an image store; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageStorePatch {
    /// Whether nothing is written, changed or deleted on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// New bound of use; null: 90.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Percent>)]
    pub full_percent: Option<Option<Percent>>,
    /// New secret key; no object store is without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// New key of a Swift account for temporary addresses; null: links lead to the appliance.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Secret>)]
    pub temp_url_key: Option<Option<Secret>>,
    /// New bound of images that stay on the store in front; null: 20 GiB.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub cache_bytes: Option<Option<u64>>,
    /// New bound of one image, those that are there keep theirs; null: 50 GiB.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub most_bytes: Option<Option<u64>>,
    /// New bound of an account; null: none.
    #[serde(default, deserialize_with = "stated", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub account_bytes: Option<Option<u64>>,
}

const fn cache_bytes() -> u64 {
    20 << 30
}

const fn most_bytes() -> u64 {
    50 << 30
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
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("router", "appliance"),
        Key::to("staging", "image store"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("APPLIANCE", "/router"),
        ("SERVER", "/server"),
        ("PATH", "/path"),
        ("BUCKET", "/bucket"),
        ("STATE", "/observed/state"),
        ("FREE", "/observed/free"),
    ];
    const OBSERVED: bool = true;

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
        let router = role::of_role(context, &zone, Role::Ssvm, spec.router.as_ref()).await?;
        spec.judge()?;
        let staging = match &spec.staging {
            Some(name) => Some(in_front(context, &zone, &router, name).await?),
            None => None,
        };
        let secret = match &spec.secret {
            Some(secret) => Some(context.keep_secret("secret", secret).await?),
            None => None,
        };
        let temp_url_key = match &spec.temp_url_key {
            Some(key) => Some(context.keep_secret("temp_url_key", key).await?),
            None => None,
        };
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
            region: spec.endpoint.as_ref().and(spec.region),
            endpoint: spec.endpoint,
            protocol: spec.protocol,
            bucket: spec.bucket,
            user: spec.user,
            secret,
            temp_url_key,
            staging,
            cache_bytes: spec.cache_bytes,
            most_bytes: spec.most_bytes,
            account_bytes: spec.account_bytes,
            observed: None,
        })
    }

    async fn update(
        &mut self,
        context: &mut Context<'_>,
        patch: ImageStorePatch,
    ) -> Result<(), Error> {
        if let Some(secret) = &patch.secret {
            if self.endpoint.is_none() {
                return Err(rule::invalid("secret", "only an object store has one"));
            }
            self.secret = Some(context.keep_secret("secret", secret).await?);
        }
        match &patch.temp_url_key {
            Some(Some(_)) if self.endpoint.is_none() || self.protocol != ObjectProtocol::Swift => {
                return Err(rule::invalid("temp_url_key", "only a Swift account has one"));
            }
            Some(Some(key)) => {
                self.temp_url_key = Some(context.keep_secret("temp_url_key", key).await?);
            }
            Some(None) => self.temp_url_key = None,
            None => {}
        }
        let or = |stated: Option<Option<u64>>, default: fn() -> u64, old: u64| {
            stated.map_or(old, |value| value.unwrap_or_else(default))
        };
        self.read_only = patch.read_only.unwrap_or(self.read_only);
        self.full_percent =
            patch.full_percent.map_or(self.full_percent, |value| value.unwrap_or_else(ninety));
        self.cache_bytes = or(patch.cache_bytes, cache_bytes, self.cache_bytes);
        self.most_bytes = or(patch.most_bytes, most_bytes, self.most_bytes);
        self.account_bytes = patch.account_bytes.unwrap_or(self.account_bytes);
        Ok(())
    }

    fn observe(&mut self, reports: &Reports) {
        let said = reports.entry(self.router.as_str(), "storage", "stores", self.id.as_str());
        self.observed = said.map(ImageStoreState::of);
    }
}

impl ImageStoreSpec {
    /// Whether what is given goes together.
    fn judge(&self) -> Result<(), Error> {
        if self.server.is_some() != self.path.is_some() {
            return Err(rule::invalid("path", "server and path are given together"));
        }
        let own = [
            ("bucket", self.bucket.is_some()),
            ("user", self.user.is_some()),
            ("secret", self.secret.is_some()),
            ("staging", self.staging.is_some()),
        ];
        if self.endpoint.is_none() {
            return match own.into_iter().find(|(_, given)| *given) {
                Some((field, _)) => Err(rule::invalid(field, "is of an object store alone")),
                None => Ok(()),
            };
        }
        if self.endpoint.as_ref().is_some_and(SourceUrl::has_secrets) {
            let reason = "must have no user, password or query; user and secret are given apart";
            return Err(rule::invalid("endpoint", reason));
        }
        if self.server.is_some() {
            return Err(rule::invalid("server", "a store is on a file server or an object store"));
        }
        match own.into_iter().find(|(_, given)| !given) {
            Some((field, _)) => Err(rule::invalid(field, "is required of an object store")),
            None => Ok(()),
        }
    }
}

/// The store that a new image goes to.
///
/// Errors: there is none, or it cannot take this one.
pub(super) async fn of_new(
    context: &mut Context<'_>,
    spec: &ImageSpec,
) -> Result<ImageStore, Error> {
    let store = match &spec.image_store {
        Some(name) => context.find(None, name).await?,
        None => roomiest(context).await?,
    };
    if store.read_only {
        let reason = format!("image store {} is read-only", store.name);
        return Err(rule::invalid("image_store", reason));
    }
    if spec.in_place && store.endpoint.is_some() {
        let reason = format!("image store {} has no files", store.name);
        return Err(rule::invalid("in_place", reason));
    }
    Ok(store)
}

/// The one for an image which names none.
async fn roomiest(context: &mut Context<'_>) -> Result<ImageStore, Error> {
    let reports = reports::all(context.conn).await?;
    let mut stores = context.own::<ImageStore>(&[]).await?;
    dynamic::only_of_zones(&mut stores, &context.zones);
    let count = stores.len();
    for store in &mut stores {
        store.observe(&reports);
    }
    let best = stores.into_iter().filter_map(|store| Some((store.room()?, store)));
    // of two alike the one that was made first
    let best = best.reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map(|(_, store)| store).ok_or_else(|| {
        let reason = format!("must be given: of {count} image stores none is ready and written to");
        rule::invalid("image_store", reason)
    })
}

/// The store in front of an object store of the same appliance.
async fn in_front(
    context: &mut Context<'_>,
    zone: &Zone,
    router: &ApplianceId,
    name: &ObjectId,
) -> Result<ObjectId, Error> {
    let store: ImageStore = context.find(Some(&zone.id), name).await?;
    let reason = if store.router != *router {
        format!("{} is of another appliance", store.name)
    } else if store.endpoint.is_some() {
        format!("{} is an object store itself", store.name)
    } else if store.read_only {
        format!("{} is read-only", store.name)
    } else {
        return Ok(store.id);
    };
    Err(rule::invalid("staging", reason))
}

impl ImageStore {
    /// What it is, in a configuration's words.
    pub(crate) fn kind(&self) -> StoreKind {
        if let Some(kind) = self.object_store() {
            return kind;
        }
        match (self.server, &self.path) {
            (Some(server), Some(path)) => {
                StoreKind::Nfs { server, path: path.clone(), version: self.nfs_version }
            }
            _ => StoreKind::Local {},
        }
    }

    /// Bytes that it has for another image; none: it takes none.
    fn room(&self) -> Option<u64> {
        let state = self.observed.as_ref().filter(|state| state.state == "ready")?;
        if self.read_only {
            return None;
        }
        let (Some(size), Some(free)) = (state.size, state.free) else { return Some(u64::MAX) };
        let used = u128::from(size.saturating_sub(free)) * 100;
        let full = used > u128::from(size) * u128::from(self.full_percent.get());
        (!full).then_some(free)
    }

    /// Whether a grant may send on to addresses of the store itself.
    pub(crate) fn hands_out_addresses(&self) -> Result<(), Error> {
        let field = "redirect_seconds";
        match (&self.endpoint, self.protocol) {
            (None, _) => Err(rule::invalid(field, "the image is on no object store")),
            (Some(_), ObjectProtocol::Swift) if self.temp_url_key.is_none() => {
                let reason = format!("image store {} has no temp_url_key", self.name);
                Err(rule::invalid(field, reason))
            }
            (Some(_), _) => Ok(()),
        }
    }

    /// The same of an object store, all of whose fields are there.
    fn object_store(&self) -> Option<StoreKind> {
        let (endpoint, bucket) = (self.endpoint.clone()?, self.bucket.clone()?);
        let (user, secret) = (self.user.clone()?, self.secret?);
        let staging = Staging { store: self.staging.clone()?, cache_bytes: self.cache_bytes };
        Some(match self.protocol {
            ObjectProtocol::S3 => {
                let region = self.region.clone().or_else(|| "us-east-1".parse().ok())?;
                StoreKind::S3 { endpoint, region, bucket, user, secret, staging }
            }
            ObjectProtocol::Swift => StoreKind::Swift {
                endpoint,
                container: bucket,
                user,
                secret,
                temp_url_key: self.temp_url_key,
                staging,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn store(observed: serde_json::Value, read_only: bool) -> ImageStore {
        serde_json::from_value(json!({ "id": "is-1", "name": "one", "zone": "z-1", "router": "s-1",
            "server": null, "path": null, "nfs_version": "4.2", "read_only": read_only,
            "full_percent": 90, "observed": observed }))
        .unwrap()
    }

    #[test]
    fn a_store_has_room_when_it_is_ready_written_to_and_not_full() {
        let ready = |free: u64| json!({ "state": "ready", "size": 1000, "free": free });
        assert_eq!(store(ready(500), false).room(), Some(500));
        assert_eq!(store(ready(100), false).room(), Some(100));
        assert_eq!(store(ready(99), false).room(), None, "more than 90 % are used");
        assert_eq!(store(ready(500), true).room(), None);
        assert_eq!(store(json!({ "state": "broken" }), false).room(), None);
        assert_eq!(store(json!(null), false).room(), None);
        let bucket = store(json!({ "state": "ready" }), false);
        assert_eq!(bucket.room(), Some(u64::MAX), "an object store has no bound");
    }
}
