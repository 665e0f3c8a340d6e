//! The protocol of a rule in its written form: `all`, `tcp`, `udp`, `icmp`, or a number of IANA's registry.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sluice_api::types::InvalidValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Which protocol a rule is about; 6, 17 and 1 are TCP, UDP and ICMP by whichever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RuleProtocol {
    /// Every protocol.
    All,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP, and ICMPv6 where the addresses are IPv6.
    Icmp,
    /// Another one by its number.
    Number(u8),
}

impl FromStr for RuleProtocol {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let rule = "must be all, tcp, udp, icmp or a protocol number, 0 to 255";
        Ok(match text {
            "all" => Self::All,
            "tcp" | "6" => Self::Tcp,
            "udp" | "17" => Self::Udp,
            "icmp" | "1" => Self::Icmp,
            number => {
                let number = number.parse();
                Self::Number(number.map_err(|_| InvalidValue::new("protocol", text, rule))?)
            }
        })
    }
}

impl TryFrom<String> for RuleProtocol {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        text.parse()
    }
}

impl From<RuleProtocol> for String {
    fn from(protocol: RuleProtocol) -> Self {
        protocol.to_string()
    }
}

impl fmt::Display for RuleProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Tcp => f.write_str("tcp"),
            Self::Udp => f.write_str("udp"),
            Self::Icmp => f.write_str("icmp"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl PartialSchema for RuleProtocol {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^(all|tcp|udp|icmp|[0-9]{1,3})$"))
            .description(Some("all, tcp, udp, icmp or a protocol number"))
            .examples([serde_json::Value::from("tcp")])
            .into()
    }
}

impl ToSchema for RuleProtocol {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_has_one_spelling() {
        for (text, written) in [("6", "tcp"), ("icmp", "icmp"), ("47", "47"), ("all", "all")] {
            assert_eq!(text.parse::<RuleProtocol>().unwrap().to_string(), written);
        }
        for bad in ["", "TCP", "256", "-1", "gre"] {
            assert!(bad.parse::<RuleProtocol>().is_err(), "{bad}");
        }
    }
}
