//! Images of a secondary storage VM, templates, volumes and snapshots: a job until they are where they belong.
//!
//! Deleting one ends what is unfinished; what was brought in stays on the store unless it was erased before.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_api::config::ssvm::{ImageLayout, Job, Place, Source, What};
use sluice_api::types::{
    ApplianceId, BlobDigest, Checksum, ImageFormat, ObjectId, Secret, SourceUrl,
};
use utoipa::ToSchema;

use super::fields::Fields;
use super::image_copy::{self, Copied};
use super::image_link::{self, DownloadLinkSpec, UploadLinkSpec};
use super::image_quota;
use super::image_state::{ERASED, ImageState};
use super::image_store;
use super::{
    Action, Column, Context, Key, Kind, Names, NoPatch, image_address, image_number, image_users,
    named, rule,
};
use crate::error::Error;
use crate::store::reports::{self, Reports};

/// An image; fields as in [`ImageSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// Never used again once deleted; also the id of the job.
    pub id: ObjectId,
    /// Unique in the zone; its file name on the store.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the secondary storage VM.
    pub router: ApplianceId,
    /// Id of the store.
    pub image_store: ObjectId,
    /// What it is.
    pub kind: ImageKind,
    /// Number of the account that owns it.
    pub account: u64,
    /// Its own number.
    pub number: u64,
    /// From where it comes; none and no `secret_url`: whoever has an upload grant.
    pub url: Option<SourceUrl>,
    /// Digest of an address that is a secret.
    pub secret_url: Option<BlobDigest>,
    /// The address without what is secret in it.
    #[serde(default)]
    pub from: Option<String>,
    /// What it must be by its bytes.
    pub format: Option<ImageFormat>,
    /// What its bytes must hash to.
    pub checksum: Option<Checksum>,
    /// Id of the image that it is a copy of.
    #[serde(default)]
    pub copy_of: Option<ObjectId>,
    /// From where that is copied.
    #[serde(default)]
    pub copied: Option<Copied>,
    /// Id of the appliance that it is fetched from.
    #[serde(default)]
    pub peer: Option<ApplianceId>,
    /// How it is laid out.
    #[serde(default)]
    pub layout: Option<ImageLayout>,
    /// Id of the snapshot that it is the difference to.
    #[serde(default)]
    pub parent: Option<ObjectId>,
    /// The name of that.
    #[serde(default)]
    pub parent_name: Option<ObjectId>,
    /// It stood on its store before.
    #[serde(default)]
    pub in_place: bool,
    /// Most bytes of it on the store.
    #[serde(default = "most_bytes")]
    pub most_bytes: u64,
    /// How often it was tried anew.
    #[serde(default)]
    pub retries: u64,
    /// It is to be removed from its store.
    #[serde(default)]
    pub erased: bool,
    /// What its appliance said of it when it was done with it, and has no job for it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<ImageState>,
    /// What its appliance last said of it; none: nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<ImageState>,
}

const fn most_bytes() -> u64 {
    50 << 30
}

/// What an image is for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ImageKind {
    /// Guests are made from it, or boot from it as an ISO.
    #[default]
    Template,
    /// A disk of one guest.
    Volume,
    /// A state of a volume; its `number` is the volume's.
    Snapshot,
}

/// An image to be brought in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// Image store, by name or id. Default: of those that are ready and written to, the one with the most room
    /// (image.store.allocation.algorithm firstfitleastconsumed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_store: Option<ObjectId>,
    /// Unique in the zone; its file name on the store.
    pub name: ObjectId,
    /// What it is. Default: template.
    #[serde(default)]
    pub kind: ImageKind,
    /// Number of the account that owns it. Default 1, the system's own.
    #[serde(default = "system")]
    pub account: u64,
    /// Its own number, which its folder on the store is called by: no two templates of an account share one there, nor two
    /// volumes. Of a snapshot that of its volume. Default: a free one; of a snapshot that of its parent or original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Address that it comes from, http or https. One with a password, query or fragment is kept as `secret_url`. Default:
    /// whoever has an upload grant sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<SourceUrl>,
    /// The same for an address with a secret in it, such as a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_url: Option<Secret>,
    /// What it must be by its bytes. Default: any of the formats let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ImageFormat>,
    /// What the bytes as fetched must hash to. Default: not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// How a copy is laid out that is converted: fixed or dynamic VHD, sparse or stream-optimized VMDK. Default: fixed,
    /// stream-optimized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<ImageLayout>,
    /// Image that it is a copy of, by name or id: a template of a snapshot, or the same on another store, also of another
    /// secondary storage VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<ObjectId>,
    /// Snapshot of the same volume on the same store that this one is the difference to, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ObjectId>,
    /// It stands on its store already, where CloudStack put it, and is taken over: it is judged and hashed, and gets a record.
    /// Default false.
    #[serde(default)]
    pub in_place: bool,
    /// Most bytes of it on the store. Default: what the store lets one image have, or what its account has left there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_bytes: Option<u64>,
}

const fn system() -> u64 {
    1
}

impl Kind for Image {
    const NAMES: Names = Names {
        word: "image",
        plural: "images",
        prefix: "im",
        about: "Templates and volumes that are brought in",
    };
    const KEYS: &'static [Key] = &[
        Key::to("zone", "zone"),
        Key::to("router", "appliance"),
        Key::to("image_store", "image store"),
        Key::to("copy_of", "image"),
        Key::to("parent", "image"),
        Key::to("peer", "appliance"),
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("STORE", "/image_store"),
        ("KIND", "/kind"),
        ("NUMBER", "/number"),
        ("STATE", "/observed/state"),
        ("PERCENT", "/observed/percent"),
        ("SIZE", "/observed/size"),
    ];
    const ACTIONS: &'static [Action] = &[
        Action {
            name: "download-link",
            about: "Make an address to fetch one from",
            body: Fields::of::<DownloadLinkSpec>,
        },
        Action {
            name: "upload-link",
            about: "Make an address to send one to",
            body: Fields::of::<UploadLinkSpec>,
        },
        Action { name: "retry", about: "Try one again that failed", body: Fields::default },
        Action { name: "erase", about: "Remove one from its store", body: Fields::default },
    ];
    const OBSERVED: bool = true;

    type Spec = ImageSpec;
    type Patch = NoPatch;

    named!();

    async fn touches(&self, _: &mut Context<'_>) -> Result<Vec<ApplianceId>, Error> {
        Ok([self.router.clone()].into_iter().chain(self.peer.clone()).collect())
    }

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: ImageSpec,
    ) -> Result<Self, Error> {
        let store = image_store::of_new(context, &spec).await?;
        let original = match spec.source()? {
            Some(name) => Some(image_copy::original(context, &store.zone, &name).await?),
            None => None,
        };
        let parent: Option<Self> = match &spec.parent {
            Some(name) => Some(context.find(Some(&store.zone), name).await?),
            None => None,
        };
        let (mut secret_url, mut from) = (None, spec.url.as_ref().map(ToString::to_string));
        if let Some(url) = &spec.secret_url {
            let address: Result<SourceUrl, _> = url.reveal().parse();
            let address = address.map_err(|error| rule::invalid("secret_url", error.rule))?;
            secret_url = Some(image_address::keep(context, &address).await?);
            from = Some(address.to_string());
        }
        let most_bytes = image_quota::allowance(context, &store, &spec).await?;
        let relatives = [parent.as_ref(), original.as_ref()];
        let mut image = Self {
            number: image_number::choose(context, &store, (&id, &spec), relatives).await?,
            id,
            name: spec.name,
            zone: store.zone,
            router: store.router,
            image_store: store.id,
            kind: spec.kind,
            account: spec.account,
            url: spec.url,
            secret_url,
            from,
            format: spec.format,
            checksum: spec.checksum,
            copy_of: None,
            copied: None,
            peer: None,
            layout: spec.layout,
            parent: None,
            parent_name: None,
            in_place: spec.in_place,
            most_bytes,
            retries: 0,
            erased: false,
            settled: None,
            observed: None,
        };
        if let Some(original) = &original {
            image_copy::copies(context, &mut image, original).await?;
        }
        if let Some(parent) = &parent {
            image.descends(parent)?;
        }
        Ok(image)
    }

    async fn deleting(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        image_users::let_go(context, self).await?;
        image_link::remove(context, ("image", self.id.as_str()), |_| true).await
    }

    fn observe(&mut self, reports: &Reports) {
        let job = self.job_id();
        let said = || reports.entry(self.router.as_str(), "storage", "jobs", job.as_str());
        self.observed = self.settled.clone().or_else(|| said().map(ImageState::of));
        if let Some(state) = self.observed.as_mut().filter(|_| self.erased) {
            state.of_a_removal();
        }
    }

    /// What is secret in an address is kept apart and shown nowhere.
    fn canonical(mut spec: ImageSpec) -> Result<ImageSpec, Error> {
        if spec.secret_url.is_none()
            && let Some(url) = spec.url.take_if(|url| url.has_secrets())
        {
            spec.secret_url = Some(Secret::new(url.reveal()));
        }
        Ok(spec)
    }

    async fn act(
        &mut self,
        context: &mut Context<'_>,
        action: &'static str,
        body: Value,
    ) -> Result<Value, Error> {
        match action {
            "download-link" => image_link::download(context, self, asked(&body)?).await,
            "upload-link" => image_link::upload(context, self, &asked(&body)?).await,
            "retry" => self.retry(context).await,
            "erase" => {
                image_users::nobody_reads(context, self).await?;
                image_link::remove(context, ("image", self.id.as_str()), |_| true).await?;
                self.erased = true;
                if let Some(peer) = self.let_go() {
                    context.touch(&peer);
                }
                self.settled = None;
                shown(self)
            }
            _ => Err(Error::NotFound { kind: "action", name: action.to_owned() }),
        }
    }
}

impl ImageSpec {
    /// The image that it is a copy of, after a look at whether it comes from one place alone.
    fn source(&self) -> Result<Option<ObjectId>, Error> {
        let given = [
            ("url", self.url.is_some()),
            ("secret_url", self.secret_url.is_some()),
            ("copy_of", self.copy_of.is_some()),
            ("in_place", self.in_place),
        ];
        let mut given = given.into_iter().filter(|(_, given)| *given);
        match (given.next(), given.next()) {
            (Some((first, _)), Some((field, _))) => {
                Err(rule::invalid(field, format!("is given in place of {first}")))
            }
            _ => Ok(self.copy_of.clone()),
        }
    }
}

/// What an action was given, strictly read.
fn asked<T: DeserializeOwned>(body: &Value) -> Result<T, Error> {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    sluice_api::decode::decode(&bytes).map_err(Error::Malformed)
}

fn shown(image: &Image) -> Result<Value, Error> {
    serde_json::to_value(image)
        .map_err(|error| Error::Corrupt { what: "image", reason: error.to_string() })
}

impl Image {
    /// Where it stands on its store.
    pub(crate) fn place(&self) -> Place {
        let (account, id, name) = (self.account, self.number, self.name.clone());
        match self.kind {
            ImageKind::Template => Place::Template { account, id, name },
            ImageKind::Volume => Place::Volume { account, id, name },
            ImageKind::Snapshot => Place::Snapshot { account, volume: id, name },
        }
    }

    /// Bytes that it counts with in its account's bound.
    pub(super) fn counts(&self) -> u64 {
        match &self.observed {
            Some(state) if state.state == ERASED => 0,
            Some(state) if state.state == "failed" => 0,
            Some(ImageState { size: Some(size), .. }) => *size,
            _ => self.most_bytes,
        }
    }

    /// Makes it the difference to `parent`.
    fn descends(&mut self, parent: &Self) -> Result<(), Error> {
        let both = [self.kind, parent.kind];
        let volume = |image: &Self| (image.image_store.clone(), image.account, image.number);
        if both != [ImageKind::Snapshot; 2] || volume(self) != volume(parent) || parent.erased {
            let reason = format!("{} is no snapshot of the same volume there", parent.name);
            return Err(rule::invalid("parent", reason));
        }
        self.parent = Some(parent.id.clone());
        self.parent_name = Some(parent.name.clone());
        Ok(())
    }

    /// Keeps an address with a secret in it as it is kept now; says whether a build before kept it otherwise.
    pub(crate) async fn hide_address(&mut self, context: &mut Context<'_>) -> Result<bool, Error> {
        let kept = if let Some(url) = self.url.take_if(|url| url.has_secrets()) {
            self.from = Some(url.to_string());
            Some(image_address::keep(context, &url).await?)
        } else if let Some(digest) = &self.secret_url {
            image_address::again(context, digest).await?
        } else {
            None
        };
        let changed = kept.is_some();
        self.secret_url = kept.or(self.secret_url);
        Ok(changed)
    }

    /// A job that failed is not tried again under its id.
    async fn retry(&mut self, context: &mut Context<'_>) -> Result<Value, Error> {
        self.observe(&reports::all(context.conn).await?);
        let state = self.observed.take();
        if state.as_ref().is_none_or(|state| state.state != "failed") {
            let state = state.map_or_else(|| "not known".to_owned(), |state| state.state);
            let reason = format!("is {state}; only what failed is tried again");
            return Err(Error::Conflict { field: "state", reason });
        }
        if self.settled.is_some() {
            let reason = "what it was to be a copy of is gone; make another image".to_owned();
            return Err(Error::Conflict { field: "copy_of", reason });
        }
        self.retries += 1;
        image_copy::again(context, self).await?;
        shown(self)
    }

    /// Whether it waits for whoever has an upload grant.
    pub(super) const fn is_uploaded(&self) -> bool {
        let elsewhere = self.url.is_some() || self.secret_url.is_some() || self.copied.is_some();
        !elsewhere && !self.in_place && self.settled.is_none()
    }

    /// Id of its job.
    pub(crate) fn job_id(&self) -> ObjectId {
        let numbered = || format!("{}-{}", self.id, self.retries).parse().ok();
        if self.retries == 0 { None } else { numbered() }.unwrap_or_else(|| self.id.clone())
    }

    /// Takes note that its appliance is done with it, if it is.
    pub(crate) fn settle(&mut self, reports: &Reports) -> bool {
        if self.settled.is_none() {
            self.observe(reports);
            let end = if self.erased { ERASED } else { "done" };
            // a removal makes nothing
            let ended =
                |state: &ImageState| state.state == end && state.size.is_some() != self.erased;
            self.settled = self.observed.take().filter(ended);
            return self.settled.is_some();
        }
        false
    }

    /// What is to be done about it, if anything.
    pub(crate) fn job(&self) -> Option<Job> {
        if self.settled.is_some() {
            return None;
        }
        let (store, place) = (self.image_store.clone(), self.place());
        let what = if self.erased {
            What::Delete { store, place }
        } else {
            What::Import {
                source: self.source(),
                store,
                place,
                format: self.format,
                checksum: self.checksum.clone().or_else(|| self.peer_checksum()),
                most_bytes: Some(self.most_bytes),
                parent: self.parent_name.clone(),
                layout: self.layout,
            }
        };
        Some(Job { id: self.job_id(), what })
    }

    /// From where it comes.
    fn source(&self) -> Source {
        if let Some(source) = self.copied_from() {
            return source;
        }
        match (&self.url, self.secret_url) {
            (Some(url), _) => Source::Url(url.clone()),
            (None, Some(digest)) => Source::SecretUrl(digest),
            (None, None) if self.in_place => Source::InPlace,
            (None, None) => Source::Upload,
        }
    }
}
