//! What of other images needs an image: copies that are on their way, and differences to a snapshot.
//!
//! Guarantees: nothing that is there or failed holds its original; what was let go of no longer names it.

use super::image::Image;
use super::image_state::{ERASED, ImageState};
use super::{Context, Kind as _};
use crate::error::Error;
use crate::store::reports::{self, Reports};

/// An image of which another is a copy or the parent, and what was last said of it.
struct User {
    image: Image,
    state: Option<ImageState>,
}

impl User {
    fn of(image: Image, reports: &Reports) -> Self {
        let mut seen = image.clone();
        seen.observe(reports);
        Self { image, state: seen.observed }
    }

    fn is(&self, state: &str) -> bool {
        self.state.as_ref().is_some_and(|it| it.state == state)
    }

    /// Its bytes may still be read from the original.
    fn reads(&self) -> bool {
        !self.image.erased && !self.is("failed") && !self.is("done")
    }

    /// It is, or may yet be, the difference to its parent on the store.
    fn descends(&self) -> bool {
        if self.image.erased { !self.is(ERASED) } else { !self.is("failed") }
    }
}

async fn users(
    context: &mut Context<'_>,
    column: &'static str,
    image: &Image,
) -> Result<Vec<User>, Error> {
    let reports = reports::all(context.conn).await?;
    let users = context.all::<Image>(&[(column, image.id.as_str())]).await?;
    Ok(users.into_iter().map(|user| User::of(user, &reports)).collect())
}

/// Refuses when some of them hold `image`, and names those.
fn refuse<'u>(image: &Image, holding: impl Iterator<Item = &'u User>) -> Result<(), Error> {
    let by: Vec<_> = holding.map(|user| format!("image {}", user.image.name)).collect();
    if by.is_empty() {
        return Ok(());
    }
    Err(Error::InUse { kind: Image::NAMES.word, name: image.name(), by: by.join(", ") })
}

/// Makes sure that no copy of `image` is on its way.
pub(super) async fn nobody_reads(context: &mut Context<'_>, image: &Image) -> Result<(), Error> {
    let copies = users(context, "copy_of", image).await?;
    refuse(image, copies.iter().filter(|copy| copy.reads()))
}

/// Has those that do not need `image` any more forget it; refuses when there are others.
pub(super) async fn let_go(context: &mut Context<'_>, image: &Image) -> Result<(), Error> {
    let copies = users(context, "copy_of", image).await?;
    let children = users(context, "parent", image).await?;
    let copying = copies.iter().filter(|copy| copy.reads());
    refuse(image, copying.chain(children.iter().filter(|child| child.descends())))?;
    for User { image: mut copy, state } in copies {
        // its store may go as well, so there is no job any more that names it
        if !copy.erased && copy.settled.is_none() {
            copy.settled = state;
            if let Some(peer) = copy.let_go() {
                context.touch(&peer);
            }
        }
        copy.copy_of = None;
        context.save(&copy).await?;
    }
    for User { image: child, .. } in children {
        // one that is a copy as well was written just now
        let mut child: Image = context.get(&child.id).await?;
        child.parent = None;
        context.save(&child).await?;
    }
    Ok(())
}
