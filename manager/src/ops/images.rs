//! Images that are where they belong: what their appliance said of them is kept, and the job that brought them there goes out
//! of its configuration, which stays small however many images there are.

use sluice_api::types::ApplianceId;

use super::settle::{Now, settle};
use crate::access::Caller;
use crate::error::Error;
use crate::kinds::Context;
use crate::kinds::image::Image;
use crate::store::{Store, reports, wanted};

/// Settles the images of an appliance whose jobs it reported done; says whether there were any. One that was put on an older
/// content stays there.
pub async fn settle_images(store: &Store, appliance: &ApplianceId) -> Result<bool, Error> {
    let mut transaction = store.begin().await?;
    let manager = Caller::manager();
    let mut context = Context::new(&mut transaction, &manager, None);
    if !wanted::unpinned(context.conn).await?.contains(appliance) {
        return Ok(false);
    }
    let reports = reports::all(context.conn).await?;
    let mut settled = false;
    for mut image in context.all::<Image>(&[("router", appliance.as_str())]).await? {
        if image.settle(&reports) {
            // who gave it has nothing more to give
            if let Some(peer) = image.let_go() {
                context.touch(&peer);
            }
            context.save(&image).await?;
            settled = true;
        }
    }
    if settled {
        settle(&mut context, "images are where they belong".to_owned(), Now::All).await?;
        transaction.commit().await?;
    }
    Ok(settled)
}
