//! Images that are made of others, of the same appliance or of another one.
//!
//! Guarantees: what comes from another appliance is fetched over TLS with certificates of this copy alone on both sides, and
//! compared with what that one reported of its object; both are told of the copy by one change, and it is given no longer
//! than until it is there.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use sluice_api::config::ssvm::{Gift, PeerSource, Place, Source};
use sluice_api::types::{ApplianceId, BlobDigest, Checksum, ObjectId};
use utoipa::ToSchema;

use super::appliance::{Appliance, object_id};
use super::image::Image;
use super::{Context, Kind as _, image_link, rule};
use crate::ca;
use crate::error::Error;
use crate::store::reports;

/// Port of a secondary storage VM for others.
const PORT: u16 = 8443;

/// The object that a copy is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Copied {
    /// Id of its store.
    pub image_store: ObjectId,
    /// Where it stands there.
    pub place: Place,
    /// How it is had from another appliance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerCopy>,
}

/// How an object of another appliance is had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerCopy {
    /// Where that appliance gives it.
    #[schema(value_type = String)]
    pub address: SocketAddr,
    /// What its bytes hash to there.
    pub checksum: Checksum,
    /// Digest of what that one shows.
    pub giving: BlobDigest,
    /// Digest of what the copy's own appliance shows.
    pub taking: BlobDigest,
    /// When it ends, in seconds since 1970-01-01 UTC.
    pub expires: u64,
}

/// The image called `name` that one in `zone` is to be a copy of.
pub(super) async fn original(
    context: &mut Context<'_>,
    zone: &ObjectId,
    name: &ObjectId,
) -> Result<Image, Error> {
    // an image of the same zone is meant before one of another
    let original: Image = match context.find(Some(zone), name).await {
        Err(Error::NotFound { .. }) => context.find(None, name).await?,
        found => found?,
    };
    if original.erased {
        return Err(rule::invalid("copy_of", format!("{} was erased", original.name)));
    }
    Ok(original)
}

/// Makes `image` a copy of `original`.
pub(super) async fn copies(
    context: &mut Context<'_>,
    image: &mut Image,
    original: &Image,
) -> Result<(), Error> {
    let (image_store, place) = (original.image_store.clone(), original.place());
    image.copy_of = Some(original.id.clone());
    image.copied = Some(Copied { image_store, place, peer: None });
    if original.router != image.router {
        let checksum = compared(context, image, original).await?;
        let address = address(context, image, original).await?;
        image.peer = Some(original.router.clone());
        introduce(context, image, (address, checksum)).await?;
    }
    Ok(())
}

/// What comes from elsewhere has to be what it is there.
async fn compared(
    context: &mut Context<'_>,
    image: &Image,
    original: &Image,
) -> Result<Checksum, Error> {
    let mut original = original.clone();
    original.observe(&reports::all(context.conn).await?);
    let there = original.observed.filter(|state| state.state == "done");
    let digest = there.as_ref().and_then(|state| state.sha256.as_ref());
    let (Some(state), Some(digest)) = (&there, digest) else {
        let reason = format!("{} is not there yet; it is of another appliance", original.name);
        return Err(rule::invalid("copy_of", reason));
    };
    if image.format.is_some() && image.format != state.format {
        let reason = format!("{} is of another appliance and stays as it is", original.name);
        return Err(rule::invalid("format", reason));
    }
    format!("sha256:{digest}")
        .parse()
        .map_err(|error| Error::Corrupt { what: "digest of an image", reason: format!("{error}") })
}

/// Over the storage network that both are on, else over the public one.
async fn address(
    context: &mut Context<'_>,
    image: &Image,
    original: &Image,
) -> Result<SocketAddr, Error> {
    let ours: Appliance = context.get(&object_id(&image.router)).await?;
    let theirs: Appliance = context.get(&object_id(&original.router)).await?;
    let storage = ours.storage_address.zip(theirs.storage_address);
    let ip = match storage.filter(|(ours, theirs)| ours.network() == theirs.network()) {
        Some((_, theirs)) if image.zone == original.zone => theirs.ip(),
        _ => image_link::public_address(context, &original.router).await?.into(),
    };
    Ok(SocketAddr::new(ip, PORT))
}

/// Makes certificates for both.
async fn introduce(
    context: &mut Context<'_>,
    image: &mut Image,
    (address, checksum): (SocketAddr, Checksum),
) -> Result<(), Error> {
    let made = ca::for_copy(image.id.as_str())?;
    let giving = context.keep(made.giving.as_bytes()).await?;
    let taking = context.keep(made.taking.as_bytes()).await?;
    let expires = u64::try_from(made.until).unwrap_or(0);
    if let Some(copied) = &mut image.copied {
        copied.peer = Some(PeerCopy { address, checksum, giving, taking, expires });
    }
    Ok(())
}

/// New certificates for another attempt: those from before may have ended.
pub(super) async fn again(context: &mut Context<'_>, image: &mut Image) -> Result<(), Error> {
    let peer = image.copied.as_ref().and_then(|copied| copied.peer.as_ref());
    match peer.map(|peer| (peer.address, peer.checksum.clone())) {
        Some(known) => introduce(context, image, known).await,
        None => Ok(()),
    }
}

impl Image {
    /// What the appliance that it is copied from gives, and where.
    pub(crate) fn gift(&self) -> Option<(SocketAddr, Gift)> {
        let copied = self.copied.as_ref()?;
        let PeerCopy { address, giving, expires, .. } = copied.peer.clone()?;
        let (store, place) = (copied.image_store.clone(), copied.place.clone());
        Some((address, Gift { id: self.id.clone(), identity: giving, expires, store, place }))
    }

    /// What its bytes must hash to when they come from another appliance.
    pub(super) fn peer_checksum(&self) -> Option<Checksum> {
        Some(self.copied.as_ref()?.peer.as_ref()?.checksum.clone())
    }

    /// Nothing is fetched from another appliance any more; returns the one that gave.
    pub(crate) fn let_go(&mut self) -> Option<ApplianceId> {
        if let Some(copied) = &mut self.copied {
            copied.peer = None;
        }
        self.peer.take()
    }

    /// From where a copy comes.
    pub(super) fn copied_from(&self) -> Option<Source> {
        let Copied { image_store, place, peer } = self.copied.clone()?;
        Some(match peer {
            Some(PeerCopy { address, taking, .. }) => {
                Source::Peer(PeerSource { gift: self.id.clone(), address, identity: taking })
            }
            None => Source::Object { store: image_store, place },
        })
    }
}
