//! From where imports may come.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::types::{BlobDigest, Cidr};

/// From where imports may come, and how patient they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FetchPolicy {
    /// Private networks (RFC 1918, RFC 6598, RFC 4193) that sources may be in (`secstorage.allowed.internal.sites`).
    /// Default: none. Loopback, link-local, multicast and reserved addresses are never fetched from.
    pub allowed: Vec<Cidr>,
    /// Networks that sources must not be in, whatever else holds: management, control, storage.
    pub refused: Vec<Cidr>,
    /// TCP ports of sources. Default 80 and 443; empty: any.
    pub ports: Vec<u16>,
    /// A blob with the address of an HTTP proxy for all sources, `http://[USER:PASSWORD@]HOST:PORT`, behind a line of random
    /// text if it has two. It looks names up itself, so the address policy above is then its own. Default: none.
    pub proxy: Option<BlobDigest>,
    /// A blob of further authorities that servers' certificates may be of, PEM. Default: those of the machine alone.
    pub authorities: Option<BlobDigest>,
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
            proxy: None,
            authorities: None,
            redirects: 5,
            connect_seconds: 15,
            silence_seconds: 60,
            attempts: 8,
            pause_milliseconds: 1000,
            streams: 4,
            range_bytes: 4 << 20,
        }
    }
}
