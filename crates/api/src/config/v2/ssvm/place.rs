//! Where an object stands on a store: CloudStack's own names, so that hypervisor hosts and old tools find it.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::types::{ImageFormat, ObjectId};

/// The place of one object. Account, template and volume ids are CloudStack's numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Place {
    /// A template or ISO: `template/tmpl/ACCOUNT/ID/NAME.EXT`.
    Template {
        /// Who owns it; 1 is the system's own account.
        account: u64,
        /// Its number.
        id: u64,
        /// Its file name without extension.
        name: ObjectId,
    },
    /// A volume: `volumes/ACCOUNT/ID/NAME.EXT`.
    Volume {
        /// Who owns it.
        account: u64,
        /// Its number.
        id: u64,
        /// Its file name without extension.
        name: ObjectId,
    },
    /// A snapshot of a volume: `snapshots/ACCOUNT/VOLUME/NAME`, with an extension for VHD alone.
    Snapshot {
        /// Who owns it.
        account: u64,
        /// The number of its volume.
        volume: u64,
        /// Its file name.
        name: ObjectId,
    },
}

/// A path on a store that is no place of an object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no place of an object")]
pub struct PlaceError(pub String);

impl Place {
    /// The folder of the object, relative to the store.
    pub fn folder(&self) -> String {
        match self {
            Self::Template { account, id, .. } => format!("template/tmpl/{account}/{id}"),
            Self::Volume { account, id, .. } => format!("volumes/{account}/{id}"),
            Self::Snapshot { account, volume, .. } => format!("snapshots/{account}/{volume}"),
        }
    }

    /// Its file name without extension.
    pub const fn name(&self) -> &ObjectId {
        match self {
            Self::Template { name, .. }
            | Self::Volume { name, .. }
            | Self::Snapshot { name, .. } => name,
        }
    }

    /// The file's name when the object is of `format`.
    pub fn file(&self, format: ImageFormat) -> String {
        match self {
            Self::Snapshot { name, .. } if format != ImageFormat::Vhd => name.to_string(),
            _ => format!("{}.{format}", self.name()),
        }
    }

    /// The snapshot `name` of the same volume; none: this is no snapshot.
    pub fn sibling(&self, name: &ObjectId) -> Option<Self> {
        match self {
            Self::Snapshot { account, volume, .. } => {
                Some(Self::Snapshot { account: *account, volume: *volume, name: name.clone() })
            }
            Self::Template { .. } | Self::Volume { .. } => None,
        }
    }

    /// The name of our own record of the object, in the same folder.
    pub fn manifest(&self) -> String {
        format!(".{}.sluice.json", self.name())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.folder(), self.name())
    }
}

impl std::str::FromStr for Place {
    type Err = PlaceError;

    /// Reads what [`Place`]'s `Display` writes.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let refused = || PlaceError(text.chars().take(80).collect());
        let number = |text: &str| text.parse::<u64>().map_err(|_| refused());
        let named = |text: &str| text.parse::<ObjectId>().map_err(|_| refused());
        match text.split('/').collect::<Vec<_>>().as_slice() {
            ["template", "tmpl", account, id, name] => Ok(Self::Template {
                account: number(account)?,
                id: number(id)?,
                name: named(name)?,
            }),
            ["volumes", account, id, name] => {
                Ok(Self::Volume { account: number(account)?, id: number(id)?, name: named(name)? })
            }
            ["snapshots", account, volume, name] => Ok(Self::Snapshot {
                account: number(account)?,
                volume: number(volume)?,
                name: named(name)?,
            }),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_the_names_that_cloudstack_gives_it() {
        for (text, format, file) in [
            ("template/tmpl/2/201/0d5c", ImageFormat::Qcow2, "0d5c.qcow2"),
            ("volumes/3/7/v-1", ImageFormat::Vhd, "v-1.vhd"),
            ("snapshots/3/7/s-1", ImageFormat::Qcow2, "s-1"),
            ("snapshots/3/7/s-1", ImageFormat::Vhd, "s-1.vhd"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), text);
            assert_eq!(place.file(format), file);
        }
    }

    #[test]
    fn a_place_never_leads_out_of_the_store() {
        for text in ["", "volumes/1/2/../x", "volumes/1/2", "template/tmpl/a/1/x", "/volumes/1/2/x"]
        {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
