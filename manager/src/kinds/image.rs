//! Images that a secondary storage VM brings in, templates and volumes: an import job for as long as the object is there.
//!
//! Deleting one ends what is unfinished; what was brought in stays on the store.

use serde::{Deserialize, Serialize};
use sluice_api::config::ssvm::{Place, Source};
use sluice_api::types::{
    ApplianceId, BlobDigest, Checksum, ImageFormat, ObjectId, Secret, SourceUrl,
};
use utoipa::ToSchema;

use super::image_store::ImageStore;
use super::{Column, Context, Key, Kind, Names, NoPatch, named, of_router, rule};
use crate::error::Error;

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
    /// What it must be by its bytes.
    pub format: Option<ImageFormat>,
    /// What its bytes must hash to.
    pub checksum: Option<Checksum>,
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
}

/// An image to be brought in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// Image store, by name or id.
    pub image_store: ObjectId,
    /// Unique in the zone; its file name on the store.
    pub name: ObjectId,
    /// What it is. Default: template.
    #[serde(default)]
    pub kind: ImageKind,
    /// Number of the account that owns it. Default 1, the system's own.
    #[serde(default = "system")]
    pub account: u64,
    /// Its own number, which its folder on the store is called by. Default: one that no other image of Sluice has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Address that it comes from, http or https. Default: whoever has an upload grant sends it.
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
}

const fn system() -> u64 {
    1
}

/// Numbers below these are whoever's who used the store before.
const FIRST_NUMBER: u64 = 1_000_000;

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
    ];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("STORE", "/image_store"),
        ("KIND", "/kind"),
        ("NUMBER", "/number"),
        ("FORMAT", "/format"),
    ];

    type Spec = ImageSpec;
    type Patch = NoPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: ImageSpec,
    ) -> Result<Self, Error> {
        let store: ImageStore = context.find(None, &spec.image_store).await?;
        if store.read_only {
            let reason = format!("image store {} is read-only", store.name);
            return Err(rule::invalid("image_store", reason));
        }
        if spec.url.is_some() && spec.secret_url.is_some() {
            return Err(rule::invalid("secret_url", "is given in place of url"));
        }
        let secret_url = match &spec.secret_url {
            Some(url) => {
                let address: Result<SourceUrl, _> = url.reveal().parse();
                address.map_err(|error| rule::invalid("secret_url", error.rule))?;
                Some(context.keep(url.reveal().as_bytes()).await?)
            }
            None => None,
        };
        Ok(Self {
            number: spec.number.unwrap_or(FIRST_NUMBER + own_number(&id)),
            id,
            name: spec.name,
            zone: store.zone,
            router: store.router,
            image_store: store.id,
            kind: spec.kind,
            account: spec.account,
            url: spec.url,
            secret_url,
            format: spec.format,
            checksum: spec.checksum,
        })
    }
}

fn own_number(id: &ObjectId) -> u64 {
    id.as_str().rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

impl Image {
    /// Where it stands on its store.
    pub(crate) fn place(&self) -> Place {
        let (account, id, name) = (self.account, self.number, self.name.clone());
        match self.kind {
            ImageKind::Template => Place::Template { account, id, name },
            ImageKind::Volume => Place::Volume { account, id, name },
        }
    }

    /// From where it comes.
    pub(crate) fn source(&self) -> Source {
        match (&self.url, self.secret_url) {
            (Some(url), _) => Source::Url(url.clone()),
            (None, Some(digest)) => Source::SecretUrl(digest),
            (None, None) => Source::Upload,
        }
    }
}
