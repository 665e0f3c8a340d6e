//! Newtypes over text: one macro, so that each of them decodes, prints and describes itself the same way.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserializer, Visitor};
use thiserror::Error;

/// Why a value was refused: the kind of value and the rule it breaks. Never retryable.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{kind} {value:?}: {rule}")]
pub struct InvalidValue {
    /// What was expected, for instance `host name`.
    pub kind: &'static str,
    /// What was given, cut to 64 characters.
    pub value: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl InvalidValue {
    /// A refusal of `value`; long values are cut so that an error stays one line.
    pub fn new(kind: &'static str, value: &str, rule: &'static str) -> Self {
        Self { kind, value: value.chars().take(64).collect(), rule }
    }
}

/// Decodes a text value where it stands in the input. serde's own way (`try_from = "String"`) would first copy it, which
/// with ten thousand guests is most of the cost of decoding.
pub(crate) fn decode<'de, D: Deserializer<'de>, T: FromStr<Err = InvalidValue>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err = InvalidValue>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}

/// Derives text forms (parse, print, serde, schema) for a newtype that has
/// `fn check(&str) -> Result<Inner, &'static str>` and `Display`.
macro_rules! text_value {
    ($type:ident, $kind:literal, $pattern:literal, $example:literal) => {
        impl std::str::FromStr for $type {
            type Err = $crate::types::InvalidValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::check(text)
                    .map(Self)
                    .map_err(|rule| $crate::types::InvalidValue::new($kind, text, rule))
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::types::InvalidValue;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::types::text::decode(deserializer)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{self}")
            }
        }

        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .description(Some($kind))
                    .examples([serde_json::Value::from($example)])
                    .into()
            }
        }

        impl utoipa::ToSchema for $type {}
    };
}

pub(crate) use text_value;
