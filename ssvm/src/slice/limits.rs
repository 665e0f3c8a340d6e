//! Bounds of the service, and from where it may fetch.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_api::types::{Cidr, Secret};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Bytes after which a job notes how far it is, which is also the most that is fetched twice. Default 32 MiB.
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
            checkpoint_bytes: 32 * MIB,
            chunk_bytes: 64 * MIB,
            connections: 256,
        }
    }
}

/// From where imports may come, and how patient they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchPolicy {
    /// Private networks (RFC 1918, RFC 6598, RFC 4193) that sources may be in (`secstorage.allowed.internal.sites`).
    /// Default: none. Loopback, link-local, multicast and reserved addresses are never fetched from.
    pub allowed: Vec<Cidr>,
    /// Networks that sources must not be in, whatever else holds: management, control, storage.
    pub refused: Vec<Cidr>,
    /// TCP ports of sources. Default 80 and 443; empty: any.
    pub ports: Vec<u16>,
    /// Resolvers that names of sources are asked of. Default: those of the machine.
    pub resolvers: Vec<IpAddr>,
    /// An HTTP proxy for all sources, `http://[USER:PASSWORD@]HOST:PORT`. It looks names up itself, so the address policy
    /// above is then its own. Default: none.
    pub proxy: Option<Secret>,
    /// Further authorities that servers' certificates may be of, PEM. Default: those of the machine alone.
    pub authorities: String,
    /// Most redirects followed; each is tested like the first address. Default 5.
    pub redirects: u8,
    /// Seconds until a connection must stand. Default 15.
    pub connect_seconds: u16,
    /// Seconds without a byte after which a connection is given up. Default 60.
    pub silence_seconds: u16,
    /// Attempts without any progress until a job fails. Default 8, over about five minutes.
    pub attempts: u8,
    /// First pause before another attempt, in milliseconds; it doubles each time up to a minute. Default 1000.
    pub pause_milliseconds: u32,
    /// Ranges fetched at the same time from one source that has them. Default 4; 1 fetches one stream.
    pub streams: u8,
    /// Bytes of one such range. Default 4 MiB.
    pub range_bytes: u64,
}

impl Default for FetchPolicy {
    fn default() -> Self {
        Self {
            allowed: Vec::new(),
            refused: Vec::new(),
            ports: vec![80, 443],
            resolvers: Vec::new(),
            proxy: None,
            authorities: String::new(),
            redirects: 5,
            connect_seconds: 15,
            silence_seconds: 60,
            attempts: 8,
            pause_milliseconds: 1000,
            streams: 4,
            range_bytes: 4 * MIB,
        }
    }
}
