//! Links to images: a grant with a token that the manager makes, as an address to hand out.
//!
//! Guarantees: the token is told in the answer alone; the grant keeps its hash.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_api::types::{ApplianceId, ObjectId, Secret, TokenHash};
use utoipa::ToSchema;

use super::appliance::{Appliance, object_id};
use super::image::Image;
use super::image_grant::{ImageGrant, ImageGrantSpec, ImagePermission, now};
use super::public_ip::{PublicIp, Purpose};
use super::{Context, rule};
use crate::error::Error;

/// Bytes of a token: nobody guesses 256 bits.
const TOKEN: usize = 32;
/// How long a link is good that does not say so, in seconds (`extract.url.expiration.interval`).
const FOUR_HOURS: u64 = 14_400;

/// An address to fetch an image from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DownloadLinkSpec {
    /// Seconds for which it is good, 1 or more. Default 14400, four hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Most downloads begun. Default: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_downloads: Option<u64>,
    /// Most bytes a second. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Seconds for which an address of the object store itself is good that the link leads on to. Default: the appliance
    /// serves the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_seconds: Option<u32>,
}

/// An address to send an image to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadLinkSpec {
    /// Seconds for which it is good, 1 or more. Default 14400, four hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// Makes the link; answers with it.
pub(super) async fn download(
    context: &mut Context<'_>,
    image: &Image,
    asked: DownloadLinkSpec,
) -> Result<Value, Error> {
    let mut spec = spec(image, ImagePermission::Download, asked.seconds)?;
    spec.most_downloads = asked.most_downloads;
    spec.bytes_per_second = asked.bytes_per_second;
    spec.redirect_seconds = asked.redirect_seconds;
    let (host, token, grant) = grant(context, image, spec).await?;
    let url = format!("https://{host}/download/{token}/{}", image.name);
    Ok(json!({ "url": url, "token": token, "grant": grant.id, "expires": grant.expires }))
}

/// Makes the link; answers with the address for tools, and with the page for a browser.
pub(super) async fn upload(
    context: &mut Context<'_>,
    image: &Image,
    asked: &UploadLinkSpec,
) -> Result<Value, Error> {
    let spec = spec(image, ImagePermission::Upload, asked.seconds)?;
    let (host, token, grant) = grant(context, image, spec).await?;
    let url = format!("https://{host}/upload");
    // the token stands behind the `#`, which browsers send to nobody
    let page = format!("{url}#{token}");
    Ok(json!({ "url": url, "page": page, "token": token, "grant": grant.id,
        "expires": grant.expires }))
}

fn spec(
    image: &Image,
    permission: ImagePermission,
    seconds: Option<u64>,
) -> Result<ImageGrantSpec, Error> {
    let seconds = seconds.unwrap_or(FOUR_HOURS);
    if seconds == 0 {
        return Err(rule::invalid("seconds", "must be 1 or more"));
    }
    Ok(ImageGrantSpec {
        image: image.id.clone(),
        // replaced by one that follows from the token
        name: image.id.clone(),
        permission,
        token: None,
        expires: Some(now().saturating_add(seconds)),
        most_bytes: image.most_bytes,
        most_downloads: None,
        bytes_per_second: None,
        redirect_seconds: None,
        link: true,
    })
}

/// Makes the grant; returns the host that serves it and the token as well.
async fn grant(
    context: &mut Context<'_>,
    image: &Image,
    mut spec: ImageGrantSpec,
) -> Result<(String, String, ImageGrant), Error> {
    let host = host(context, image).await?;
    remove(context, ("router", image.router.as_str()), |link| link.expires <= now()).await?;
    let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN]>());
    spec.name = name(&token)?;
    spec.token = Some(Secret::new(token.as_str()));
    let grant = context.make::<ImageGrant>(spec).await?;
    Ok((host, token, grant))
}

/// Removes links of those whose column has this content.
pub(super) async fn remove(
    context: &mut Context<'_>,
    of: (&'static str, &str),
    which: impl Fn(&ImageGrant) -> bool,
) -> Result<(), Error> {
    for grant in context.all::<ImageGrant>(&[of]).await? {
        if grant.link && which(&grant) {
            context.remove(grant).await?;
        }
    }
    Ok(())
}

/// A name that no other link has.
fn name(token: &str) -> Result<ObjectId, Error> {
    let hash = TokenHash::of(token).to_string();
    let digits: String = hash.chars().skip_while(|c| *c != ':').skip(1).take(16).collect();
    format!("link-{digits}")
        .parse()
        .map_err(|error| Error::Corrupt { what: "name", reason: format!("{error}") })
}

/// Where the image's appliance is reached by the public.
async fn host(context: &mut Context<'_>, image: &Image) -> Result<String, Error> {
    let id = object_id(&image.router);
    let appliance: Appliance = context.get(&id).await?;
    if appliance.certificate.is_none() {
        let reason = format!("{} has no certificate, so it serves nobody", appliance.name);
        return Err(rule::invalid("certificate", reason));
    }
    Ok(public_address(context, &image.router).await?.to_string())
}

/// The public address of an appliance's own.
pub(super) async fn public_address(
    context: &mut Context<'_>,
    appliance: &ApplianceId,
) -> Result<Ipv4Addr, Error> {
    let ips = context.all::<PublicIp>(&[("router", appliance.as_str())]).await?;
    let own = ips.iter().find(|ip| ip.purpose == Purpose::Appliance);
    own.map(|ip| ip.address).ok_or_else(|| Error::Corrupt {
        what: "appliance",
        reason: format!("{appliance} has no public address"),
    })
}
