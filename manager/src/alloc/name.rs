//! Names of pools: what is counted, and where.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use sluice_api::types::{InvalidValue, ObjectId};

use super::mac_of;

/// A pool: what is counted, and the object within which it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolName {
    class: PoolClass,
    within: Option<ObjectId>,
}

/// What a pool counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolClass {
    /// Public addresses, within a zone.
    Public,
    /// IPv6 addresses of uplinks as offsets in the prefix of a public range, within the range.
    PublicIpv6,
    /// VLAN ids, within a physical network.
    Vlan,
    /// Addresses of guests, within a network.
    Guest,
    /// Control addresses of appliances, within the cloud.
    Control,
    /// Addresses of appliances on a storage network, within a physical network.
    Storage,
    /// MAC addresses, within the cloud.
    Mac,
}

const CLASSES: [(PoolClass, &str); 7] = [
    (PoolClass::Public, "public"),
    (PoolClass::PublicIpv6, "public-ipv6"),
    (PoolClass::Vlan, "vlan"),
    (PoolClass::Guest, "guest"),
    (PoolClass::Control, "control"),
    (PoolClass::Storage, "storage"),
    (PoolClass::Mac, "mac"),
];

impl PoolName {
    /// The pool of `class` within `object`.
    pub fn within(class: PoolClass, object: &ObjectId) -> Self {
        Self { class, within: Some(object.clone()) }
    }

    /// The pool of `class` of the whole cloud.
    pub fn of_cloud(class: PoolClass) -> Self {
        Self { class, within: None }
    }

    /// What it counts.
    pub fn class(&self) -> PoolClass {
        self.class
    }

    /// An item as people write it.
    pub fn written(&self, value: i64) -> String {
        let address = || u32::try_from(value).ok().map(|bits| Ipv4Addr::from(bits).to_string());
        let text = match self.class {
            PoolClass::Public | PoolClass::Guest | PoolClass::Control | PoolClass::Storage => {
                address()
            }
            PoolClass::Mac => mac_of(value).map(|mac| mac.to_string()),
            PoolClass::Vlan | PoolClass::PublicIpv6 => None,
        };
        text.unwrap_or_else(|| value.to_string())
    }
}

impl<'de> serde::Deserialize<'de> for PoolName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = CLASSES.iter().find(|(class, _)| *class == self.class).map_or("", |(_, w)| w);
        match &self.within {
            Some(object) => write!(f, "{word}:{object}"),
            None => f.write_str(word),
        }
    }
}

impl FromStr for PoolName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (word, within) = match text.split_once(':') {
            Some((word, within)) => (word, Some(within.parse()?)),
            None => (text, None),
        };
        let class = CLASSES.iter().find(|(_, known)| *known == word);
        let (class, _) = class.ok_or_else(|| {
            let rule = "must begin with public, public-ipv6, vlan, guest, control, storage or mac";
            InvalidValue::new("pool", text, rule)
        })?;
        Ok(Self { class: *class, within })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for text in [
            "public:z-1",
            "public-ipv6:pr-1",
            "vlan:pn-1",
            "guest:n-12",
            "control",
            "control:z-1",
            "mac",
        ] {
            assert_eq!(text.parse::<PoolName>().unwrap().to_string(), text);
        }
        assert!("colour:z-1".parse::<PoolName>().is_err());
        assert_eq!(
            "mac".parse::<PoolName>().unwrap().written(0x0200_0000_0001),
            "02:00:00:00:00:01"
        );
    }
}
