//! How much of a store images may take.

use super::image::{Image, ImageSpec};
use super::image_store::ImageStore;
use super::{Context, Kind as _, rule};
use crate::error::Error;
use crate::store::reports;

/// Most bytes that the image may have: what was asked for, within what the store lets one image and one account have.
///
/// An image counts with what it was allowed until its size is known.
pub(super) async fn allowance(
    context: &mut Context<'_>,
    store: &ImageStore,
    spec: &ImageSpec,
) -> Result<u64, Error> {
    let asked = spec.most_bytes.unwrap_or(store.most_bytes);
    if asked > store.most_bytes || asked == 0 {
        let reason = format!("must be 1 to {}, as of image store {}", store.most_bytes, store.name);
        return Err(rule::invalid("most_bytes", reason));
    }
    let Some(quota) = store.account_bytes else { return Ok(asked) };
    let left = quota.saturating_sub(used(context, store, spec.account).await?);
    if left == 0 || spec.most_bytes.is_some_and(|asked| asked > left) {
        return Err(Error::Exhausted {
            pool: format!(
                "account {}'s {quota} bytes on image store {} ({left} are left)",
                spec.account, store.name
            ),
        });
    }
    Ok(asked.min(left))
}

/// Bytes of an account's images on a store.
async fn used(context: &mut Context<'_>, store: &ImageStore, account: u64) -> Result<u64, Error> {
    let reports = reports::all(context.conn).await?;
    let mut used: u64 = 0;
    for mut image in context.all::<Image>(&[("image_store", store.id.as_str())]).await? {
        image.observe(&reports);
        if image.account == account {
            used = used.saturating_add(image.counts());
        }
    }
    Ok(used)
}
