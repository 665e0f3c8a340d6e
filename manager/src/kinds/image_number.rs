//! Numbers of images, which their folders on a store are called by.
//!
//! Guarantees: no two templates of an account share a folder on a store, nor two volumes; snapshots of one volume share that
//! volume's.

use std::collections::BTreeSet;

use sluice_api::types::ObjectId;

use super::image::{Image, ImageKind, ImageSpec};
use super::image_store::ImageStore;
use super::{Context, rule};
use crate::error::Error;

/// Numbers below these are whoever's who used the store before.
const FIRST: u64 = 1_000_000;

/// The number of the image `id` that `spec` asks for on `store`: as it is stated, or a free one. A snapshot has its volume's:
/// that of its parent or original.
pub(super) async fn choose(
    context: &mut Context<'_>,
    store: &ImageStore,
    (id, spec): (&ObjectId, &ImageSpec),
    relatives: [Option<&Image>; 2],
) -> Result<u64, Error> {
    if spec.kind == ImageKind::Snapshot {
        let of_volume = |image: &&Image| image.kind != ImageKind::Template;
        let relative = relatives.into_iter().flatten().find(of_volume);
        return spec.number.or(relative.map(|image| image.number)).ok_or_else(|| {
            rule::invalid("number", "must be given: that of the volume that it is a state of")
        });
    }
    let mut others = context.all::<Image>(&[("image_store", store.id.as_str())]).await?;
    others.retain(|other| {
        (other.kind, other.account) == (spec.kind, spec.account) && other.is_there()
    });
    if let Some(number) = spec.number {
        return match others.into_iter().find(|other| other.number == number) {
            Some(Image { name, account, .. }) => {
                let reason = format!(
                    "{number} is the number of image {name} of account {account} on image store {}",
                    store.name
                );
                Err(Error::Conflict { field: "number", reason })
            }
            None => Ok(number),
        };
    }
    let taken = others.into_iter().map(|other| other.number).collect();
    Ok(free(FIRST.saturating_add(own(id)), &taken))
}

/// The first from `number` on that is not taken.
fn free(mut number: u64, taken: &BTreeSet<u64>) -> u64 {
    while taken.contains(&number) {
        number += 1;
    }
    number
}

fn own(id: &ObjectId) -> u64 {
    id.as_str().rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

impl Image {
    /// Whether it has, or may yet have, its folder on its store.
    fn is_there(&self) -> bool {
        !self.erased || self.settled.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_nobody_has_is_found() {
        let taken = BTreeSet::from([1_000_004, 1_000_005, 1_000_007]);
        assert_eq!(free(FIRST + own(&"im-3".parse().unwrap()), &taken), 1_000_003);
        assert_eq!(free(1_000_004, &taken), 1_000_006);
    }
}
