//! When a rule ends, in its written form: a time in UTC, or `never`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sluice_api::types::{InvalidValue, UtcTime};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// An end, or none, of a rule that may have had one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Until {
    /// It does not end.
    Never,
    /// It ends at this time.
    At(UtcTime),
}

impl Until {
    /// The end, if there is one.
    pub const fn end(self) -> Option<UtcTime> {
        match self {
            Self::Never => None,
            Self::At(time) => Some(time),
        }
    }
}

impl FromStr for Until {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text == "never" { Ok(Self::Never) } else { text.parse().map(Self::At) }
    }
}

impl TryFrom<String> for Until {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl From<Until> for String {
    fn from(until: Until) -> Self {
        until.to_string()
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::At(time) => write!(f, "{time}"),
        }
    }
}

impl PartialSchema for Until {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("a time in UTC, or never"))
            .examples([serde_json::Value::from("2027-01-31T18:00:00Z")])
            .into()
    }
}

impl ToSchema for Until {}
