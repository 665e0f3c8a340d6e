//! Metadata of guests: lists within their limits.

use super::Scope;
use crate::config::Guest;

/// Most public keys of one guest.
const MAX_KEYS: usize = 64;
/// Most values of the operator's own of one guest.
const MAX_EXTRA: usize = 32;

pub(super) fn check(scope: &mut Scope<'_>, network: usize, position: usize, guest: &Guest) {
    let metadata = &guest.metadata;
    let lists = [
        ("public_keys", metadata.public_keys.len(), MAX_KEYS),
        ("extra", metadata.extra.len(), MAX_EXTRA),
    ];
    for (field, count, most) in lists {
        if count > most {
            let path = format!("networks[{network}].guests[{position}].metadata.{field}");
            scope.error(path, "too-many", format!("{count} entries are more than {most}"));
        }
    }
}
