//! Values of virtual private networks: names of peers and users, ranges of addresses, Diffie-Hellman groups, lifetimes.

use std::fmt;
use std::net::Ipv4Addr;

use super::InvalidValue;
use super::text::text_value;

/// How a peer names itself in IKE: an address, a host name or a mailbox; 1 to 128 letters, digits and `. _ - : @`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeId(String);

text_value!(IkeId, "IKE id", "^[A-Za-z0-9@._:-]{1,128}$", "branch.example.com");

impl IkeId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<String, &'static str> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"@._:-".contains(&b);
        if (1..=128).contains(&text.len()) && text.bytes().all(good) {
            return Ok(text.to_owned());
        }
        Err("must have 1 to 128 letters, digits or characters of `. _ - : @`")
    }
}

impl From<Ipv4Addr> for IkeId {
    fn from(address: Ipv4Addr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for IkeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a user of remote access: a letter or digit, then up to 63 letters, digits and `@ + = . _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VpnUserName(String);

text_value!(VpnUserName, "VPN user name", "^[A-Za-z0-9][A-Za-z0-9@+=._-]{0,63}$", "anna");

impl VpnUserName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<String, &'static str> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"@+=._-".contains(&b);
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if first && text.len() <= 64 && text.bytes().all(good) {
            return Ok(text.to_owned());
        }
        Err(
            "must begin with a letter or digit and have 1 to 64 letters, digits or characters of `@ + = . _ -`",
        )
    }
}

impl fmt::Display for VpnUserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Addresses from a first to a last one, `10.1.2.1-10.1.2.8`: the first is the server's, the others are its clients'.
/// 2 to 1024 addresses, all of which a host can have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientRange {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl ClientRange {
    /// Most addresses of a range: as many clients as one router can be expected to serve.
    const MOST: u32 = 1024;

    /// The server's own end of every client's link.
    pub const fn server(self) -> Ipv4Addr {
        self.first
    }

    /// The last address.
    pub const fn last(self) -> Ipv4Addr {
        self.last
    }

    /// The addresses for clients, in order.
    pub fn clients(self) -> impl Iterator<Item = Ipv4Addr> {
        (u32::from(self.first) + 1..=u32::from(self.last)).map(Ipv4Addr::from)
    }

    /// The fewest networks that hold exactly the range's addresses.
    pub fn networks(self) -> Vec<super::Cidr> {
        let (mut first, last) = (u64::from(u32::from(self.first)), u64::from(u32::from(self.last)));
        let mut all = Vec::new();
        while first <= last {
            // the largest network that begins here and does not go beyond the end
            let fits = |bits: &u32| first % (1 << bits) == 0 && first + (1 << bits) - 1 <= last;
            let bits = (0..=16_u32).rev().find(fits).unwrap_or(0);
            let address = Ipv4Addr::from(u32::try_from(first).unwrap_or(u32::MAX));
            all.extend(format!("{address}/{}", 32 - bits).parse::<super::Cidr>());
            first += 1 << bits;
        }
        all
    }

    /// True when `address` is one of the range, the server's included.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// True when the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// True when `network` has one of these addresses.
    pub fn touches(self, network: &super::Cidr) -> bool {
        let Some(network) = network.as_ipv4() else { return false };
        self.first <= network.broadcast() && network.network() <= self.last
    }
}

impl std::str::FromStr for ClientRange {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let refused = |rule| InvalidValue::new("client range", text, rule);
        let form = || refused("must be two IPv4 addresses with a hyphen between");
        let (first, last) = text.split_once('-').ok_or_else(form)?;
        let first: Ipv4Addr = first.parse().map_err(|_| form())?;
        let last: Ipv4Addr = last.parse().map_err(|_| form())?;
        let special = |address: Ipv4Addr| {
            address.is_unspecified() || address.is_multicast() || address.is_loopback()
        };
        if special(first) || special(last) || last.is_broadcast() {
            return Err(refused("has addresses that no host can have"));
        }
        let count = u32::from(last).checked_sub(u32::from(first));
        match count {
            Some(1..Self::MOST) => Ok(Self { first, last }),
            _ => Err(refused("must have 2 to 1024 addresses, the lower one first")),
        }
    }
}

impl fmt::Display for ClientRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl fmt::Debug for ClientRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl serde::Serialize for ClientRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ClientRange {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::text::decode(deserializer)
    }
}

impl utoipa::PartialSchema for ClientRange {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^[0-9.]+-[0-9.]+$"))
            .description(Some("client range"))
            .examples([serde_json::Value::from("10.1.2.1-10.1.2.8")])
            .into()
    }
}

impl utoipa::ToSchema for ClientRange {}

/// A Diffie-Hellman group by its number (IANA, "IKEv2 Transform Type 4"): 2 and 5 are MODP of 1024 and 1536 bits, 14 to 18
/// of 2048 to 8192, 19 to 21 the NIST curves of 256, 384 and 521 bits, 31 is Curve25519.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct DhGroup(u8);

impl DhGroup {
    /// All that there are, by number.
    pub const NUMBERS: [u8; 11] = [2, 5, 14, 15, 16, 17, 18, 19, 20, 21, 31];

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// True when it can be broken today or soon: 1024 and 1536 bits (RFC 8247 2.4).
    pub const fn is_obsolete(self) -> bool {
        self.0 < 14
    }
}

impl TryFrom<u64> for DhGroup {
    type Error = InvalidValue;

    fn try_from(number: u64) -> Result<Self, InvalidValue> {
        let known = Self::NUMBERS.into_iter().find(|known| u64::from(*known) == number);
        let rule = "must be 2, 5, 14 to 21 or 31";
        known.map(Self).ok_or_else(|| InvalidValue::new("DH group", &number.to_string(), rule))
    }
}

impl From<DhGroup> for u64 {
    fn from(group: DhGroup) -> Self {
        Self::from(group.0)
    }
}

impl fmt::Display for DhGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}", self.0)
    }
}

impl fmt::Debug for DhGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl utoipa::PartialSchema for DhGroup {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::Integer)
            .enum_values(Some(Self::NUMBERS))
            .description(Some("Diffie-Hellman group"))
            .into()
    }
}

impl utoipa::ToSchema for DhGroup {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_a_server_and_clients() {
        let range: ClientRange = "10.1.2.1-10.1.2.8".parse().unwrap();
        assert_eq!(range.server(), Ipv4Addr::new(10, 1, 2, 1));
        assert_eq!(range.clients().count(), 7);
        assert!(range.touches(&"10.1.2.8/32".parse().unwrap()));
        assert!(range.touches(&"10.0.0.0/8".parse().unwrap()));
        assert!(!range.touches(&"10.1.2.9/32".parse().unwrap()));
        assert!(!range.touches(&"2001:db8::/32".parse().unwrap()));
        let networks: Vec<_> = range.networks().iter().map(ToString::to_string).collect();
        let expected = ["10.1.2.1/32", "10.1.2.2/31", "10.1.2.4/30", "10.1.2.8/32"];
        assert_eq!(networks, expected);
        for bad in [
            "10.1.2.1",
            "10.1.2.8-10.1.2.1",
            "10.1.2.1-10.1.2.1",
            "10.1.0.0-10.2.0.0",
            "0.0.0.0-0.0.0.5",
            "224.0.0.1-224.0.0.5",
            "a-b",
        ] {
            assert!(bad.parse::<ClientRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_are_those_of_the_registry() {
        assert_eq!(serde_json::from_str::<DhGroup>("14").unwrap().number(), 14);
        assert!(serde_json::from_str::<DhGroup>("2").unwrap().is_obsolete());
        for bad in ["0", "1", "13", "22", "24", "\"14\"", "99999999999"] {
            assert!(serde_json::from_str::<DhGroup>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_cannot_mean_anything_elsewhere() {
        for good in ["203.0.113.9", "@branch", "vpn@example.com", "2001:db8::1"] {
            assert!(good.parse::<IkeId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "%any", "a\"b", "a\nb", "C=DE,CN=x"] {
            assert!(bad.parse::<IkeId>().is_err(), "{bad}");
        }
        for bad in ["", "-a", "a b", "a\\b", "ä"] {
            assert!(bad.parse::<VpnUserName>().is_err(), "{bad}");
        }
    }
}
