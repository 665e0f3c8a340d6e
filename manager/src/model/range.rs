//! A range of VLAN ids in its written form, `100-199` or `100`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sluice_api::types::{InvalidValue, VlanId};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// VLAN ids from `first` to `last`, both included; each 1 to 4094.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VlanRange {
    first: VlanId,
    last: VlanId,
}

impl VlanRange {
    /// The range, or `None` when it would be empty.
    pub fn new(first: VlanId, last: VlanId) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// Lowest id.
    pub fn first(&self) -> VlanId {
        self.first
    }

    /// Highest id.
    pub fn last(&self) -> VlanId {
        self.last
    }

    /// True when the two ranges share an id.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// True when `id` is one of the range.
    pub fn contains(&self, id: VlanId) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

impl FromStr for VlanRange {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::new(first.trim().parse()?, last.trim().parse()?)
            .ok_or_else(|| InvalidValue::new("VLAN range", text, "must not end before it starts"))
    }
}

impl TryFrom<String> for VlanRange {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl From<VlanRange> for String {
    fn from(range: VlanRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for VlanRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl PartialSchema for VlanRange {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9]{1,4}(-[0-9]{1,4})?$"))
            .description(Some("VLAN ids, first and last included"))
            .examples([serde_json::Value::from("100-199")])
            .into()
    }
}

impl ToSchema for VlanRange {}
