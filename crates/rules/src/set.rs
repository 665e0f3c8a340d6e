//! Sets and maps: what lookups in rules ask, and where nearly everything that changes one by one lives.
//!
//! Guarantees: one table says for each type its name, how a value is written and how it is read. An element is known by
//! its key; its value and its id are what it has.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_api::types::{LinkName, MacAddr, Port};

use crate::span::Address;
use crate::text::joined;
use crate::{Ident, Protocol, RuleId, Span, Verdict, protocol};

/// Types of set elements and map keys and values, and concatenations of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SetType {
    /// A link by its name.
    Link,
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// An Ethernet address.
    Mac,
    /// An IP protocol.
    Protocol,
    /// Ports.
    Port,
    /// A mark.
    Mark,
    /// A verdict; map values only.
    Verdict,
    /// A named counter; map values only.
    Counter,
}

/// One type: its name in nft, and how a value of it is read from nft's JSON.
struct Row {
    kind: SetType,
    name: &'static str,
    read: fn(&Value) -> Option<ElementValue>,
}

/// How each is written is [`ElementValue`]'s `Display`.
const TYPES: [Row; 9] = [
    Row { kind: SetType::Link, name: "ifname", read: |is| text(is).map(ElementValue::Link) },
    Row { kind: SetType::Ipv4, name: "ipv4_addr", read: |is| span(is).map(ElementValue::Ipv4) },
    Row { kind: SetType::Ipv6, name: "ipv6_addr", read: |is| span(is).map(ElementValue::Ipv6) },
    Row { kind: SetType::Mac, name: "ether_addr", read: |is| text(is).map(ElementValue::Mac) },
    Row { kind: SetType::Protocol, name: "inet_proto", read: protocol_of },
    Row { kind: SetType::Port, name: "inet_service", read: |is| ports(is).map(ElementValue::Port) },
    Row { kind: SetType::Mark, name: "mark", read: |is| mark(is).map(ElementValue::Mark) },
    Row {
        kind: SetType::Verdict,
        name: "verdict",
        read: |is| verdict(is).map(ElementValue::Verdict),
    },
    Row {
        kind: SetType::Counter,
        name: "counter",
        read: |is| ident(is).map(ElementValue::Counter),
    },
];

impl SetType {
    /// As nft writes it.
    pub fn name(self) -> &'static str {
        TYPES.iter().find(|row| row.kind == self).map_or("", |row| row.name)
    }

    /// The type of that name, if it is one of ours.
    pub fn named(name: &str) -> Option<Self> {
        TYPES.iter().find(|row| row.name == name).map(|row| row.kind)
    }

    /// A value as nft lists it.
    pub(crate) fn read(self, listed: &Value) -> Option<ElementValue> {
        TYPES.iter().find(|row| row.kind == self).and_then(|row| (row.read)(listed))
    }
}

fn text<T: std::str::FromStr>(listed: &Value) -> Option<T> {
    listed.as_str()?.parse().ok()
}

fn ident(listed: &Value) -> Option<Ident> {
    Ident::try_from(listed.as_str()?.to_owned()).ok()
}

/// One address, a network or a range.
fn span<T: std::str::FromStr + Address>(listed: &Value) -> Option<Span<T>> {
    if let Some(prefix) = listed.get("prefix") {
        let bits = u32::try_from(prefix.get("len")?.as_u64()?).ok()?;
        return Span::network(text(prefix.get("addr")?)?, bits);
    }
    match listed.get("range").and_then(Value::as_array) {
        Some(ends) => Some(Span::new(text(ends.first()?)?, text(ends.get(1)?)?)),
        None => text::<T>(listed).map(Span::from),
    }
}

fn ports(listed: &Value) -> Option<Span<u16>> {
    let number = |is: &Value| u16::try_from(is.as_u64()?).ok();
    match listed.get("range").and_then(Value::as_array) {
        Some(ends) => Some(Span::new(number(ends.first()?)?, number(ends.get(1)?)?)),
        None => number(listed).map(Span::from),
    }
}

fn protocol_of(listed: &Value) -> Option<ElementValue> {
    let number = match listed.as_str() {
        Some(name) => protocol::protocol_named(name)?,
        None => Protocol::new(u8::try_from(listed.as_u64()?).ok()?),
    };
    Some(ElementValue::Protocol(number))
}

fn mark(listed: &Value) -> Option<u32> {
    u32::try_from(listed.as_u64()?).ok()
}

pub(crate) fn verdict(listed: &Value) -> Option<Verdict> {
    let (kind, body) = listed.as_object()?.iter().next()?;
    let target = || ident(body.get("target")?);
    match kind.as_str() {
        "accept" => Some(Verdict::Accept),
        "drop" => Some(Verdict::Drop),
        "return" => Some(Verdict::Return),
        "jump" => target().map(Verdict::Jump),
        "goto" => target().map(Verdict::Goto),
        _ => None,
    }
}

/// A set, or a map when it has values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Type of each part of a key.
    pub key: Vec<SetType>,
    /// Type of each part of a value; none for a set.
    pub value: Vec<SetType>,
    /// Elements may be networks and ranges, which must not overlap. Without it a lookup and a change cost the same
    /// whatever the size, so it is for what needs it.
    pub interval: bool,
    /// Each element counts the packets and bytes that it matched.
    pub counter: bool,
    /// The elements.
    #[serde(with = "crate::pairs")]
    pub elements: BTreeMap<Element, Entry>,
}

/// What an element has besides its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// The value; without parts in a set.
    pub value: Element,
    /// The id by which it is known to people, kept as its comment.
    pub id: Option<RuleId>,
}

impl Entry {
    /// A value with the id of what it is made of.
    pub fn of(value: impl Into<Element>, id: RuleId) -> Self {
        Self { value: value.into(), id: Some(id) }
    }
}

impl Set {
    /// An empty set.
    pub fn of(key: impl Into<Vec<SetType>>) -> Self {
        Self { key: key.into(), ..Self::default() }
    }

    /// An empty map.
    pub fn map(key: impl Into<Vec<SetType>>, value: impl Into<Vec<SetType>>) -> Self {
        Self { key: key.into(), value: value.into(), ..Self::default() }
    }

    /// The same with networks and ranges allowed.
    #[must_use]
    pub fn interval(self) -> Self {
        Self { interval: true, ..self }
    }

    /// The same with a counter for each element.
    #[must_use]
    pub fn counted(self) -> Self {
        Self { counter: true, ..self }
    }

    /// The same with these elements, for a set.
    #[must_use]
    pub fn with(mut self, elements: impl IntoIterator<Item = Element>) -> Self {
        self.elements.extend(elements.into_iter().map(|key| (key, Entry::default())));
        self
    }

    /// The same with these keys and values, for a map.
    #[must_use]
    pub fn mapping(mut self, elements: impl IntoIterator<Item = (Element, Element)>) -> Self {
        self.elements
            .extend(elements.into_iter().map(|(key, value)| (key, Entry { value, id: None })));
        self
    }

    /// The same with these keys, values and ids.
    #[must_use]
    pub fn filled(mut self, elements: impl IntoIterator<Item = (Element, Entry)>) -> Self {
        if self.elements.is_empty() {
            // sorted and put together at once, which is much less than one by one; most come sorted already
            self.elements = elements.into_iter().collect();
        } else {
            self.elements.extend(elements);
        }
        self
    }

    /// True when the two can hold the same elements.
    pub fn has_form_of(&self, other: &Self) -> bool {
        let form = |set: &Self| (set.key.clone(), set.value.clone(), set.interval, set.counter);
        form(self) == form(other)
    }

    /// True for a map.
    pub fn is_map(&self) -> bool {
        !self.value.is_empty()
    }
}

/// An element, key or value: one part, or several concatenated. Cheap to clone: what is wanted, what a script adds and what
/// is there then share it.
#[derive(Clone, Debug, Default, Eq, Serialize, Deserialize)]
pub struct Element(pub Arc<[ElementValue]>);

/// What is shared need not be looked at.
impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl<const N: usize> From<[ElementValue; N]> for Element {
    fn from(parts: [ElementValue; N]) -> Self {
        Self(parts.into())
    }
}

/// A part of an element. Spans of more than one value are for sets with intervals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ElementValue {
    /// A link.
    Link(LinkName),
    /// IPv4 addresses.
    Ipv4(Span<Ipv4Addr>),
    /// IPv6 addresses.
    Ipv6(Span<Ipv6Addr>),
    /// An Ethernet address.
    Mac(MacAddr),
    /// An IP protocol.
    Protocol(Protocol),
    /// Ports.
    Port(Span<u16>),
    /// A mark.
    Mark(u32),
    /// A verdict.
    Verdict(Verdict),
    /// A named counter of the same table.
    Counter(Ident),
}

macro_rules! part {
    ($from:ty, $variant:ident) => {
        impl From<$from> for ElementValue {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    };
}

part!(LinkName, Link);
part!(Ipv4Addr, Ipv4);
part!(Ipv6Addr, Ipv6);
part!(Span<Ipv4Addr>, Ipv4);
part!(Span<Ipv6Addr>, Ipv6);
part!(MacAddr, Mac);
part!(Protocol, Protocol);
part!(crate::L4, Protocol);
part!(Port, Port);
part!(Span<u16>, Port);
part!(Verdict, Verdict);

impl Display for ElementValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(link) => write!(f, "\"{link}\""),
            Self::Ipv4(span) => write!(f, "{span}"),
            Self::Ipv6(span) => write!(f, "{span}"),
            Self::Mac(mac) => write!(f, "{mac}"),
            Self::Protocol(protocol) => write!(f, "{protocol}"),
            Self::Port(span) => write!(f, "{span}"),
            Self::Mark(mark) => write!(f, "{mark:#x}"),
            Self::Verdict(verdict) => write!(f, "{verdict}"),
            Self::Counter(name) => write!(f, "\"{name}\""),
        }
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&joined(self.0.iter(), " . "))
    }
}
