//! Numbers with a range.

macro_rules! ranged {
    ($(#[$meta:meta])* $name:ident($inner:ty), $kind:literal, $min:expr, $max:expr, $rule:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
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

            /// `number` as a constant: for numbers that the code itself names.
            ///
            /// # Panics
            /// For a number out of range, which in a constant is a compile error.
            #[allow(dead_code, unused_comparisons)] // not every kind has such constants, or a least that is not 0
            pub(crate) const fn of(number: $inner) -> Self {
                assert!($min <= number && number <= $max, $rule);
                Self(number)
            }
        }

        impl TryFrom<u64> for $name {
            type Error = $crate::types::InvalidValue;

            fn try_from(number: u64) -> Result<Self, $crate::types::InvalidValue> {
                let refused = || $crate::types::InvalidValue::new($kind, &number.to_string(), $rule);
                let inner = <$inner>::try_from(number).map_err(|_| refused())?;
                if ($min..=$max).contains(&inner) { Ok(Self(inner)) } else { Err(refused()) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::types::InvalidValue;

            fn from_str(text: &str) -> Result<Self, $crate::types::InvalidValue> {
                let refused = |_| $crate::types::InvalidValue::new($kind, text, $rule);
                let number: u64 = text.parse().map_err(refused)?;
                Self::try_from(number)
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> Self {
                Self::from(value.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::Integer)
                    .minimum(Some(u64::from($min)))
                    .maximum(Some(u64::from($max)))
                    .description(Some($kind))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

pub(crate) use ranged;

ranged!(
    /// A share in hundredths, none of them excluded.
    Percent(u8), "percentage", 1_u8, 100_u8, "must be 1 to 100"
);
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
    /// Number of a DHCP option; 0 and 255 are padding and end (RFC 2132 3).
    OptionCode(u8), "DHCP option", 1_u8, 254_u8, "must be 1 to 254"
);
ranged!(
    /// How long a guest's password waits to be fetched, in seconds: a minute to 30 days.
    PasswordSeconds(u32), "time of a password", 60_u32, 2_592_000_u32, "must be 60 to 2592000 seconds"
);
ranged!(
    /// Number of a routing table of ours. The kernel's own tables (253 to 255) and the low numbers that administrators give
    /// by hand are left alone.
    RouteTable(u32), "routing table", 1000_u32, 1999_u32, "must be 1000 to 1999"
);
ranged!(
    /// Place of a rule in an access control list (guide 11.19.4).
    AclNumber(u16), "rule number", 1_u16, u16::MAX, "must be 1 to 65535"
);
ranged!(
    /// How long a security association lives, in seconds. Below a minute peers would do nothing but negotiate; what lives
    /// longer than a week has lost its keys' freshness.
    LifetimeSeconds(u32), "lifetime", 60_u32, 604_800_u32, "must be 60 to 604800 seconds"
);

ranged!(
    /// Seconds that a record of the name service may be kept; 0 is not at all.
    RecordSeconds(u32), "time to live", 0_u32, 86_400_u32, "must be 0 to 86400 seconds"
);
ranged!(
    /// Questions of one client that the name service answers in a second. Below a hundred a single page of the web is
    /// too much; the most is more than one client can ask.
    QueryRate(u32), "rate of questions", 100_u32, 1_000_000_u32, "must be 100 to 1000000 a second"
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

impl Percent {
    /// Nine tenths.
    pub const NINETY: Self = Self(90);
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

impl LifetimeSeconds {
    /// A day: the guide's for IKE.
    pub const DAY: Self = Self(86_400);
    /// An hour: the guide's for ESP.
    pub const HOUR: Self = Self(3600);
}

impl LeaseSeconds {
    /// A day: long enough to survive a night without its router.
    pub const DAY: Self = Self(86_400);
}

impl Default for RecordSeconds {
    fn default() -> Self {
        Self(300)
    }
}

impl Default for QueryRate {
    fn default() -> Self {
        Self(20_000)
    }
}

impl Default for PasswordSeconds {
    fn default() -> Self {
        Self(86_400)
    }
}
