//! Grants to send or fetch an image: whoever shows the token may.

use serde::{Deserialize, Serialize};
use sluice_api::types::{ApplianceId, ObjectId, Secret, TokenHash};
use utoipa::ToSchema;

use super::image::Image;
use super::image_store::ImageStore;
use super::{Column, Context, Key, Kind, Names, NoPatch, named, of_router, rule};
use crate::error::Error;

/// Fewest characters of a token: it is all that keeps an image from strangers.
const SHORTEST_TOKEN: usize = 16;
/// How long a grant is good that does not say so, in seconds.
const DAY: u64 = 86_400;
/// Most bytes of an upload that does not say so: 50 GiB, as `max.template.iso.size`.
const MOST_BYTES: u64 = 50 << 30;

/// A grant; fields as in [`ImageGrantSpec`], references as ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageGrant {
    /// Never used again once deleted.
    pub id: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// Id of its zone.
    pub zone: ObjectId,
    /// Id of the secondary storage VM.
    pub router: ApplianceId,
    /// Id of the image.
    pub image: ObjectId,
    /// To do what.
    pub permission: ImagePermission,
    /// What the token hashes to.
    pub token: TokenHash,
    /// When it ends, in seconds since 1970-01-01 UTC.
    pub expires: u64,
    /// Most bytes sent.
    pub most_bytes: u64,
    /// Most downloads begun; none: any number.
    pub most_downloads: Option<u64>,
    /// Most bytes a second; none: any.
    pub bytes_per_second: Option<u64>,
    /// Seconds for which an address of the object store itself is good; none: the appliance serves the bytes.
    #[serde(default)]
    pub redirect_seconds: Option<u32>,
    /// Made by `download-link` or `upload-link`: it goes with its image, and when it has ended.
    #[serde(default)]
    pub link: bool,
}

/// What a grant is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImagePermission {
    /// Send the bytes of an image that has no address to come from.
    Upload,
    /// Fetch the image.
    Download,
}

/// A grant to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageGrantSpec {
    /// Image, by name or id.
    pub image: ObjectId,
    /// Unique in the zone.
    pub name: ObjectId,
    /// To do what.
    pub permission: ImagePermission,
    /// The token, 16 characters or more; only its hash is kept. Required when the grant is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// When it ends, in seconds since 1970-01-01 UTC; it lies ahead when the grant is made. Default: a day from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Most bytes sent. Default 50 GiB.
    #[serde(default = "most_bytes")]
    pub most_bytes: u64,
    /// Most downloads begun. Default: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_downloads: Option<u64>,
    /// Most bytes a second of downloads. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Seconds for which an address of the object store itself is good that downloads are sent on to. Default: the
    /// appliance serves the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_seconds: Option<u32>,
    /// It is a link's.
    #[serde(skip)]
    pub link: bool,
}

const fn most_bytes() -> u64 {
    MOST_BYTES
}

impl Kind for ImageGrant {
    const NAMES: Names = Names {
        word: "image grant",
        plural: "image grants",
        prefix: "ig",
        about: "Leave to send or fetch an image",
    };
    const KEYS: &'static [Key] =
        &[Key::to("zone", "zone"), Key::to("router", "appliance"), Key::to("image", "image")];
    const SCOPE: Option<&'static str> = Some("zone");
    const COLUMNS: &'static [Column] = &[
        ("ID", "/id"),
        ("NAME", "/name"),
        ("IMAGE", "/image"),
        ("PERMISSION", "/permission"),
        ("EXPIRES", "/expires"),
    ];

    type Spec = ImageGrantSpec;
    type Patch = NoPatch;

    named!();
    of_router!();

    async fn create(
        context: &mut Context<'_>,
        id: ObjectId,
        spec: ImageGrantSpec,
    ) -> Result<Self, Error> {
        let image: Image = context.find(None, &spec.image).await?;
        if spec.permission == ImagePermission::Upload && !image.is_uploaded() {
            let reason = format!("image {} does not wait for an upload", image.name);
            return Err(rule::invalid("permission", reason));
        }
        if spec.redirect_seconds.is_some() {
            let store: ImageStore = context.get(&image.image_store).await?;
            store.hands_out_addresses()?;
        }
        let expires = spec.expires.map_or_else(|| Ok(a_day_from_now()), ahead)?;
        let token = token("token", spec.token.as_ref())?;
        Ok(Self {
            id,
            name: spec.name,
            zone: image.zone,
            router: image.router,
            image: image.id,
            permission: spec.permission,
            token,
            expires,
            most_bytes: spec.most_bytes,
            most_downloads: spec.most_downloads,
            bytes_per_second: spec.bytes_per_second,
            redirect_seconds: spec.redirect_seconds,
            link: spec.link,
        })
    }

    fn prunes(&self) -> bool {
        !self.link
    }
}

/// The hash of a token that is long enough.
pub(super) fn token(field: &'static str, token: Option<&Secret>) -> Result<TokenHash, Error> {
    let token = token.ok_or_else(|| rule::invalid(field, "must be given"))?.reveal();
    if token.chars().count() < SHORTEST_TOKEN {
        let reason = format!("must have {SHORTEST_TOKEN} characters or more");
        return Err(rule::invalid(field, reason));
    }
    Ok(TokenHash::of(token))
}

/// An end that lies ahead.
pub(super) fn ahead(expires: u64) -> Result<u64, Error> {
    if expires <= now() {
        let reason = "is over; it is a time in seconds since 1970-01-01 UTC";
        return Err(rule::invalid("expires", reason));
    }
    Ok(expires)
}

/// Unix seconds.
pub(super) fn now() -> u64 {
    u64::try_from(crate::store::observations::now()).unwrap_or(0)
}

/// Unix seconds, a day from now.
pub(super) fn a_day_from_now() -> u64 {
    now().saturating_add(DAY)
}
