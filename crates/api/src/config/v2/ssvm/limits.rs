//! Bounds of the service.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest object as it stands on the store, unpacked, in bytes. Default 50 GiB (`max.template.iso.size`).
    pub object_bytes: u64,
    /// Largest disk that a guest sees, in bytes. Default 2 TiB.
    pub virtual_bytes: u64,
    /// Most memory for the window or dictionary of one decompression, in bytes. Default 160 MiB: what `zstd --long` and
    /// `xz -9` make fits.
    pub unpack_bytes: u64,
    /// Jobs at work at the same time; the others wait. Default 4.
    pub jobs: u8,
    /// Most bytes of a source that are fetched again after a crash, those under way included. Default 56 MiB.
    pub checkpoint_bytes: u64,
    /// Largest piece of an upload, in bytes. Default 64 MiB.
    pub chunk_bytes: u64,
    /// Connections of up- and downloads at the same time. Default 256.
    pub connections: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            object_bytes: 50 * GIB,
            virtual_bytes: 2048 * GIB,
            unpack_bytes: 160 * MIB,
            jobs: 4,
            checkpoint_bytes: 56 * MIB,
            chunk_bytes: 64 * MIB,
            connections: 256,
        }
    }
}
