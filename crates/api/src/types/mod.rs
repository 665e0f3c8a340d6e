//! Checked values that every layer shares.
//!
//! Guarantees: a value of one of these types is valid; decoding is the check, so no later code asks again.
//! Not here: anything that needs two values to judge (a gateway inside its network), which is `check`'s task.

mod balancing;
mod blob;
mod bucket;
mod dhcp;
mod host;
mod link;
mod mac;
mod metadata;
mod name;
mod net;
mod number;
mod ports;
mod protocol;
mod range;
mod secret;
mod storage;
mod text;
mod time;
mod version;
mod vpn;
mod web;

pub use balancing::{
    CheckPath, ConnectSeconds, ConnectionLimit, CookieDomain, CookieLength, CookieName,
    DrainSeconds, HoldSeconds, IdleSeconds, IntervalMilliseconds, KeepAliveSeconds, RequestSeconds,
    StatusNumber, TableSize, Times, Weight,
};
pub use blob::{BlobDigest, MAX_BLOB, SecretBytes};
pub use bucket::{BucketName, StoreUser};
pub use dhcp::{BootFile, HexBytes, OptionText};
pub use host::HostAddress;
pub use link::LinkName;
pub use mac::MacAddr;
pub use metadata::{MetadataKey, MetadataValue, PublicKey};
pub use name::{ApplianceId, DomainName, HostName, ObjectId, RecordName};
pub use net::{Cidr, InterfaceAddress};
pub use number::{
    AclNumber, CaptureBytes, CapturePackets, CaptureSeconds, Generation, HopLimit, LeaseSeconds,
    LifetimeSeconds, Mtu, OptionCode, PasswordSeconds, Percent, Port, ProbeCount, QueryRate,
    RecordSeconds, RouteTable, VlanId,
};
pub use ports::PortRange;
pub use protocol::AskedProtocol;
pub use range::AddressRange;
pub use secret::Secret;
pub use storage::{Checksum, ExportPath, HashFunction, ImageFormat, SourceUrl, TokenHash};
pub use text::InvalidValue;
pub use time::UtcTime;
pub use version::FormatVersion;
pub use vpn::{ClientRange, DhGroup, IkeId, VpnUserName};
pub use web::{CertificateText, Fingerprint, HostPattern, Origin, PathPrefix, ServerName};
