//! Numbers with a range.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::InvalidValue;

macro_rules! ranged {
    ($(#[$meta:meta])* $name:ident($inner:ty), $kind:literal, $min:expr, $max:expr, $rule:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name($inner);

        impl $name {
            /// The smallest value.
            pub const MIN: Self = Self($min);
            /// The largest value.
            pub const MAX: Self = Self($max);

            /// The number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = InvalidValue;

            fn try_from(number: u64) -> Result<Self, InvalidValue> {
                let refused = || InvalidValue::new($kind, &number.to_string(), $rule);
                let inner = <$inner>::try_from(number).map_err(|_| refused())?;
                if ($min..=$max).contains(&inner) { Ok(Self(inner)) } else { Err(refused()) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                let number: u64 =
                    text.parse().map_err(|_| InvalidValue::new($kind, text, $rule))?;
                Self::try_from(number)
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> Self {
                Self::from(value.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::Integer)
                    .minimum(Some(u64::from($min)))
                    .maximum(Some(u64::from($max)))
                    .description(Some($kind))
                    .into()
            }
        }

        impl ToSchema for $name {}
    };
}

ranged!(
    /// An 802.1Q VLAN id. 0 means "priority only" and 4095 is reserved (IEEE 802.1Q 9.6), so both are refused.
    VlanId(u16), "VLAN id", 1_u16, 4094_u16, "must be 1 to 4094"
);
ranged!(
    /// A TCP or UDP port.
    Port(u16), "port", 1_u16, u16::MAX, "must be 1 to 65535"
);
ranged!(
    /// Largest packet on a link in bytes. 1280 is IPv6's least (RFC 8200 5); 9216 what common switches carry.
    Mtu(u16), "MTU", 1280_u16, 9216_u16, "must be 1280 to 9216 bytes"
);
ranged!(
    /// The number of a configuration; each is greater than the one before. 0 means "none yet" and is never sent.
    Generation(u64), "generation", 1_u64, 9_007_199_254_740_991_u64, "must be 1 to 2^53-1"
);
ranged!(
    /// DHCP lease time in seconds. Below a minute clients would renew all the time; 4294967295 is "for ever" (RFC 2131 3.3).
    LeaseSeconds(u32), "lease time", 60_u32, u32::MAX, "must be 60 to 4294967295 seconds"
);

ranged!(
    /// Probes of a diagnostic.
    ProbeCount(u8), "number of probes", 1_u8, 10_u8, "must be 1 to 10"
);
ranged!(
    /// Hops that a trace goes at most; more are found in no path that works.
    HopLimit(u8), "number of hops", 1_u8, 30_u8, "must be 1 to 30"
);
ranged!(
    /// Packets of a capture.
    CapturePackets(u32), "number of packets", 1_u32, 10_000_u32, "must be 1 to 10000"
);
ranged!(
    /// Length of a capture file in bytes: one whole frame and its headers at least.
    CaptureBytes(u32), "length of a capture", 65_600_u32, 16_777_216_u32, "must be 65600 to 16777216 bytes"
);
ranged!(
    /// Seconds that a capture goes on.
    CaptureSeconds(u8), "number of seconds", 1_u8, 60_u8, "must be 1 to 60"
);

impl Generation {
    /// The generation that follows this one, or `None` after the last.
    pub fn next(self) -> Option<Self> {
        Self::try_from(self.0 + 1).ok()
    }
}

impl Mtu {
    /// Ethernet's own, 1500 bytes.
    pub const ETHERNET: Self = Self(1500);
}

impl Port {
    /// `port` as a constant: for ports that the code itself names.
    ///
    /// # Panics
    /// For port 0, which in a constant is a compile error.
    pub const fn fixed(port: u16) -> Self {
        assert!(port != 0, "port 0 is not a port");
        Self(port)
    }
}

impl Default for ProbeCount {
    fn default() -> Self {
        Self(3)
    }
}

impl Default for HopLimit {
    fn default() -> Self {
        Self(15)
    }
}

impl Default for CapturePackets {
    fn default() -> Self {
        Self(100)
    }
}

impl Default for CaptureBytes {
    fn default() -> Self {
        Self(4 << 20)
    }
}

impl Default for CaptureSeconds {
    fn default() -> Self {
        Self(10)
    }
}

impl LeaseSeconds {
    /// A day: long enough to survive a night without its router.
    pub const DAY: Self = Self(86_400);
}
