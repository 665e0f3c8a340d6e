//! Addresses of images that have a password or a signature in them, which builds before kept as they were given, or by a digest
//! that a guess could be compared with: they become secrets when a manager is started. What was coming in begins anew.

use super::settle::{Now, settle};
use crate::access::Caller;
use crate::error::Error;
use crate::kinds::Context;
use crate::kinds::image::Image;
use crate::store::{Store, wanted};

/// Keeps such addresses apart from their images. An appliance that was put on an older content stays there.
pub async fn hide_addresses(store: &Store) -> Result<(), Error> {
    let mut transaction = store.begin().await?;
    let manager = Caller::manager();
    let mut context = Context::new(&mut transaction, &manager, None);
    let mut hidden = false;
    for mut image in context.all::<Image>(&[]).await? {
        if image.hide_address(&mut context).await? {
            context.save(&image).await?;
            hidden = true;
        }
    }
    if !hidden {
        return Ok(());
    }
    for appliance in context.touched.clone() {
        if wanted::is_pinned(context.conn, appliance.as_str()).await? {
            context.touched.remove(&appliance);
        }
    }
    settle(&mut context, "addresses of images are secrets".to_owned(), Now::All).await?;
    transaction.commit().await?;
    Ok(())
}
