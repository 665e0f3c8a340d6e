//! Numbers with a range, as the configuration's own are.

/// A number that decodes only within its range.
macro_rules! bounded {
    ($(#[$meta:meta])* $name:ident, $kind:literal, $min:literal, $max:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "u32", into = "u32")]
        pub struct $name(u32);

        impl $name {
            /// The number.
            pub const fn get(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = String;

            fn try_from(number: u32) -> Result<Self, String> {
                if ($min..=$max).contains(&number) {
                    return Ok(Self(number));
                }
                Err(format!("{} {number}: must be {} to {}", $kind, $min, $max))
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

pub(super) use bounded;
