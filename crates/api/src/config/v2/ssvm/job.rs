//! Jobs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::peer::PeerSource;
use super::place::Place;
use crate::types::{BlobDigest, Checksum, ImageFormat, ObjectId, SourceUrl};

/// Something to be done once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its id. The same id with another content is another job: the one before is ended.
    pub id: ObjectId,
    /// What.
    pub what: What,
}

impl Job {
    /// The store that it is about.
    pub const fn store(&self) -> &ObjectId {
        match &self.what {
            What::Import { store, .. } | What::Delete { store, .. } => store,
        }
    }

    /// The blob that it names.
    pub const fn blob(&self) -> Option<BlobDigest> {
        let What::Import { source, .. } = &self.what else { return None };
        match source {
            Source::SecretUrl(digest) | Source::Peer(PeerSource { identity: digest, .. }) => {
                Some(*digest)
            }
            Source::Url(_) | Source::Upload | Source::InPlace | Source::Object { .. } => None,
        }
    }

    /// Where the object is to be from that it copies.
    pub const fn copied(&self) -> Option<(&ObjectId, &Place)> {
        match &self.what {
            What::Import { source: Source::Object { store, place }, .. } => Some((store, place)),
            What::Import { .. } | What::Delete { .. } => None,
        }
    }

    /// The object that it is about.
    pub const fn place(&self) -> &Place {
        match &self.what {
            What::Import { place, .. } | What::Delete { place, .. } => place,
        }
    }
}

/// Kinds of job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// Bring an image in.
    Import {
        /// From where.
        source: Source,
        /// The store that it goes to.
        store: ObjectId,
        /// Where it stands there.
        place: Place,
        /// What it must be, by its bytes. Default: any of the formats let in.
        #[serde(default)]
        format: Option<ImageFormat>,
        /// What the bytes as fetched, before unpacking, must hash to. Default: not compared.
        #[serde(default)]
        checksum: Option<Checksum>,
        /// Most bytes of it as it stands on the store. Default: `limits.object_bytes`, which holds in any case.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        most_bytes: Option<u64>,
        /// A snapshot's parent, by name: the snapshot of the same volume that it is the difference to. It must be on the
        /// store, and the image must say that its backing file is just that one. Default: it stands alone, and an image with
        /// a backing file is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<ObjectId>,
        /// How an object is laid out that is converted to a format with several layouts. Default: VHD fixed, VMDK
        /// stream-optimized.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        layout: Option<ImageLayout>,
    },
    /// Remove an object and everything that belongs to it.
    Delete {
        /// The store that it is on.
        store: ObjectId,
        /// Where.
        place: Place,
    },
}

/// Layouts of formats that have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImageLayout {
    /// VHD: the whole disk.
    Fixed,
    /// VHD: the blocks that have anything.
    Dynamic,
    /// VMDK: `monolithicSparse`, for hosts that write to it.
    Sparse,
    /// VMDK: `streamOptimized`, for import into `vSphere` and for OVA.
    StreamOptimized,
}

impl ImageLayout {
    /// The format that has it.
    pub const fn format(self) -> ImageFormat {
        match self {
            Self::Fixed | Self::Dynamic => ImageFormat::Vhd,
            Self::Sparse | Self::StreamOptimized => ImageFormat::Vmdk,
        }
    }
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A web server. The address stands in the configuration; one with a secret in it, such as a signature, is better in a
    /// blob.
    Url(SourceUrl),
    /// The same, the address being the text of a blob.
    SecretUrl(BlobDigest),
    /// Whoever holds a grant for the job.
    Upload,
    /// Nowhere: the file stands at the place already, as `CloudStack` put it there. It is judged and hashed where it is, and
    /// gets a record of ours. Not on object stores.
    InPlace,
    /// An object of another secondary storage VM, as it stands there; the job's `checksum` has to be that of its record.
    Peer(PeerSource),
    /// Another object: its bytes are compared with its record while they are copied. When the job says another format, or the
    /// object is a snapshot with a parent and the job names none, its disk is laid out anew: qcow2, raw, VHD, VHDX and VMDK.
    Object {
        /// The store that it is on.
        store: ObjectId,
        /// Where.
        place: Place,
    },
}
