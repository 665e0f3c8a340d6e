//! Elements of a set straight from the kernel: a list of 100,000 through nft takes 400 MB and seconds, this takes neither.
//!
//! Guarantees: an element is read whole or counted as foreign; memory is that of the elements. Messages by hand
//! (linux/netfilter/nf_tables.h), because netlink-packet-netfilter keeps its types for them private.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use sluice_api::types::MacAddr;

use super::generation::{INET, attribute, nested, question};
use crate::netfilter::{HEADER, ask};
use crate::nft::{
    Count, Element, ElementValue, Entry, Family, Ident, ObservedSet, Protocol, RuleId, SetType,
    Span, TableId, Verdict,
};

/// NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM.
const GET: u16 = 0x0a0d;
/// NFTA_SET_ELEM_LIST_TABLE, _SET, _ELEMENTS.
const TABLE: u16 = 1;
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
/// NFTA_SET_ELEM_KEY and so on.
const KEY: u16 = 1;
const DATA: u16 = 2;
const FLAGS: u16 = 3;
const USERDATA: u16 = 6;
const EXPR: u16 = 7;
const OBJECT: u16 = 9;
const KEY_END: u16 = 10;
const EXPRESSIONS: u16 = 11;
/// NFT_SET_ELEM_INTERVAL_END.
const INTERVAL_END: u32 = 1;
/// NFTA_DATA_VALUE, NFTA_DATA_VERDICT; NFTA_VERDICT_CODE, _CHAIN.
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
const CODE: u16 = 1;
const CHAIN: u16 = 2;
/// NFTA_EXPR_NAME, _DATA; NFTA_COUNTER_BYTES, _PACKETS.
const NAME: u16 = 1;
const BODY: u16 = 2;
const BYTES: u16 = 1;
const PACKETS: u16 = 2;
/// NFTNL_UDATA_SET_ELEM_COMMENT and _FLAGS of libnftnl, and the flag that says that an interval has no end.
const COMMENT: u8 = 0;
const OPEN: u8 = 1;

/// What a set holds.
#[derive(Debug, Default)]
pub(super) struct Elements {
    pub(super) known: BTreeMap<Element, Entry>,
    pub(super) counts: Vec<(String, Count)>,
    pub(super) foreign: u64,
}

/// The types of a set whose elements can be read here; `None` for one of types that take more to read.
pub(super) struct Form {
    key: Vec<SetType>,
    value: Vec<SetType>,
    interval: bool,
}

impl Form {
    /// Of a set as it was listed without elements.
    pub(super) fn of(set: &ObservedSet) -> Option<Self> {
        let named = |names: &[String]| {
            names.iter().map(|name| SetType::named(name)).collect::<Option<Vec<_>>>()
        };
        let (key, value) = (named(&set.types.0)?, named(&set.types.1)?);
        // marks are in the processor's order, and their place in concatenations is nft's affair
        let lone = |types: &[SetType]| types.len() == 1 || !types.contains(&SetType::Mark);
        let plain = !set.foreign_form && lone(&key) && lone(&value);
        plain.then_some(Self { key, value, interval: set.interval })
    }
}

/// Reads the elements of a set; `None` when they changed meanwhile.
pub(super) async fn read(table: &TableId, set: &str, form: &Form) -> io::Result<Option<Elements>> {
    let Family::Inet = table.family;
    let names = [attribute(TABLE, table.name.as_str()), attribute(SET, set)].concat();
    let question = question(GET, NLM_F_REQUEST | NLM_F_DUMP, INET, &names);
    let mut reader = Reader { form, elements: Elements::default(), ends: Vec::new() };
    let whole = ask(&question, |message| reader.message(message)).await?;
    Ok(whole.then(|| reader.done()))
}

/// What is gone already has nothing to say.
pub(super) fn present(asked: io::Result<bool>) -> io::Result<bool> {
    match asked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        other => other,
    }
}

/// What all elements counted of a set without values that has `key` in it, by their ids.
pub(super) async fn all(
    table: &TableId,
    set: &str,
    key: &Element,
) -> io::Result<Vec<(String, Count)>> {
    let Some((form, _)) = asked(key) else { return Ok(Vec::new()) };
    Ok(read(table, set, &form).await?.map(|read| read.counts).unwrap_or_default())
}

/// What these elements of a set without values counted, by their ids; those that are gone are left out.
pub(super) async fn some(
    table: &TableId,
    set: &str,
    keys: &[Element],
) -> io::Result<Vec<(String, Count)>> {
    let mut counts = Vec::new();
    for key in keys {
        counts.extend(one(table, set, key).await?);
    }
    Ok(counts)
}

async fn one(table: &TableId, set: &str, key: &Element) -> io::Result<Vec<(String, Count)>> {
    let Some((form, element)) = asked(key) else { return Ok(Vec::new()) };
    let which = [
        attribute(TABLE, table.name.as_str()),
        attribute(SET, set),
        // NLA_F_NESTED, which the kernel wants of lists
        nested(ELEMENTS | 0x8000, &nested(1 | 0x8000, &element)),
    ];
    let question = question(GET, NLM_F_REQUEST | NLM_F_ACK, INET, &which.concat());
    let mut reader = Reader { form: &form, elements: Elements::default(), ends: Vec::new() };
    present(ask(&question, |message| reader.message(message)).await)?;
    Ok(reader.elements.counts)
}

/// A key as it is asked for: attributes of an element, and what kind of set has it.
fn asked(key: &Element) -> Option<(Form, Vec<u8>)> {
    let alone = key.0.len() == 1;
    let (mut first, mut last, mut types) = (Vec::new(), Vec::new(), Vec::new());
    for value in key.0.iter() {
        let (kind, low, high) = bytes_of(value)?;
        types.push(kind);
        for (bytes, end) in [(&mut first, low), (&mut last, high)] {
            bytes.extend(end);
            // each part of a concatenation begins at a place of four bytes
            let length = if alone { bytes.len() } else { bytes.len().next_multiple_of(4) };
            bytes.resize(length, 0);
        }
    }
    let end = |kind: u16, bytes: &[u8]| nested(kind | 0x8000, &nested(VALUE, bytes));
    let mut element = end(KEY, &first);
    let interval = first != last;
    if interval {
        element.extend(end(KEY_END, &last));
    }
    Some((Form { key: types, value: Vec::new(), interval }, element))
}

/// Type of a value, and its first and last one as the kernel has them.
fn bytes_of(value: &ElementValue) -> Option<(SetType, Vec<u8>, Vec<u8>)> {
    let one = |kind, bytes: Vec<u8>| Some((kind, bytes.clone(), bytes));
    match value {
        ElementValue::Link(link) => {
            let mut bytes = link.as_str().as_bytes().to_vec();
            bytes.resize(16, 0);
            one(SetType::Link, bytes)
        }
        ElementValue::Ipv4(span) => {
            Some((SetType::Ipv4, span.first().octets().into(), span.last().octets().into()))
        }
        ElementValue::Ipv6(span) => {
            Some((SetType::Ipv6, span.first().octets().into(), span.last().octets().into()))
        }
        ElementValue::Protocol(protocol) => one(SetType::Protocol, vec![protocol.number()]),
        ElementValue::Port(span) => {
            let (first, last) = (span.first().to_be_bytes(), span.last().to_be_bytes());
            Some((SetType::Port, first.into(), last.into()))
        }
        _ => None,
    }
}

/// A key of an interval set of one part: where an interval begins, with what it has, or where the one before ends.
type Edge = (Vec<u8>, Option<(Entry, Option<Count>)>);

struct Reader<'a> {
    form: &'a Form,
    elements: Elements,
    ends: Vec<Edge>,
}

/// A `struct nlattr`.
pub(super) struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Without the bits for nesting and byte order.
    fn kind(&self) -> u16 {
        self.kind & 0x3fff
    }

    pub(super) fn value(&self) -> &'a [u8] {
        self.value
    }
}

/// The attributes in `bytes`; a broken one ends them.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (head, _) = rest.split_first_chunk::<4>()?;
        let [low, high, kind_low, kind_high] = *head;
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind: u16::from_ne_bytes([kind_low, kind_high]), value })
    })
}

pub(super) fn within(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|part| part.kind() == kind).map(|part| part.value())
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.split(|byte| *byte == 0).next()?).ok()
}

impl Reader<'_> {
    fn message(&mut self, message: &[u8]) {
        let body = message.get(HEADER + 4..).unwrap_or_default();
        for element in attributes(within(body, ELEMENTS).unwrap_or_default()) {
            if self.element(element.value()).is_none() {
                self.elements.foreign += 1;
            }
        }
    }

    fn element(&mut self, element: &[u8]) -> Option<()> {
        let (mut key, mut key_end, mut value, mut flags) = (None, None, Element::default(), 0);
        let (mut id, mut count) = (None, None);
        for part in attributes(element) {
            match part.kind() {
                KEY => key = within(part.value(), VALUE),
                KEY_END => key_end = within(part.value(), VALUE),
                DATA => value = self.data(part.value())?,
                OBJECT => {
                    let name = Ident::try_from(text(part.value())?.to_owned()).ok()?;
                    value = Element::from([ElementValue::Counter(name)]);
                }
                FLAGS => flags = number(part.value())?,
                USERDATA => id = comment(part.value()).ok()?,
                EXPR => count = Some(counter(part.value())?),
                EXPRESSIONS => {
                    let mut all = attributes(part.value());
                    count = Some(counter(all.next()?.value())?);
                    if all.next().is_some() {
                        return None;
                    }
                }
                // padding
                8 => {}
                _ => return None,
            }
        }
        if flags & !INTERVAL_END != 0 {
            return None;
        }
        let key = key?;
        if self.form.interval && self.form.key.len() == 1 && key_end.is_none() {
            let begins = flags & INTERVAL_END == 0;
            self.ends.push((key.to_vec(), begins.then_some((Entry { value, id }, count))));
            return Some(());
        }
        if flags != 0 || value.0.len() != self.form.value.len() {
            return None;
        }
        let key = parts(key, key_end.unwrap_or(key), &self.form.key)?;
        self.add(key, Entry { value, id }, count);
        Some(())
    }

    fn add(&mut self, key: Element, entry: Entry, count: Option<Count>) {
        if let Some(count) = count {
            let id = entry.id.as_ref().map_or_else(|| key.to_string(), RuleId::to_string);
            self.elements.counts.push((id, count));
        }
        self.elements.known.insert(key, entry);
    }

    fn data(&self, data: &[u8]) -> Option<Element> {
        if let Some(verdict) = within(data, VERDICT) {
            return Some(Element::from([ElementValue::Verdict(verdict_of(verdict)?)]));
        }
        let value = within(data, VALUE)?;
        parts(value, value, &self.form.value)
    }

    /// Intervals are kept as their beginnings and ends, which the kernel lists in any order.
    fn done(mut self) -> Elements {
        let mut edges = std::mem::take(&mut self.ends);
        // where one ends and the next begins, the end comes first
        edges.sort_by(|(one, begins), (other, other_begins)| {
            one.cmp(other).then(begins.is_some().cmp(&other_begins.is_some()))
        });
        let mut rest = edges.into_iter().peekable();
        while let Some((first, begins)) = rest.next() {
            let Some((entry, count)) = begins else { continue };
            let last = match rest.peek() {
                Some((end, _)) => before(end),
                // one without an end goes on to the last value
                None => Some(vec![0xff; first.len()]),
            };
            let fits = entry.value.0.len() == self.form.value.len();
            let key = last.filter(|_| fits).and_then(|last| parts(&first, &last, &self.form.key));
            match key {
                Some(key) => self.add(key, entry, count),
                None => self.elements.foreign += 1,
            }
        }
        self.elements
    }
}

/// The number one less, as bytes in network order.
fn before(end: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = end.to_vec();
    for byte in bytes.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            return Some(bytes);
        }
    }
    None
}

fn verdict_of(verdict: &[u8]) -> Option<Verdict> {
    let chain = || Ident::try_from(text(within(verdict, CHAIN)?)?.to_owned()).ok();
    // NF_DROP, NF_ACCEPT, NFT_JUMP, NFT_GOTO, NFT_RETURN
    match number(within(verdict, CODE)?)?.cast_signed() {
        0 => Some(Verdict::Drop),
        1 => Some(Verdict::Accept),
        -3 => Some(Verdict::Jump(chain()?)),
        -4 => Some(Verdict::Goto(chain()?)),
        -5 => Some(Verdict::Return),
        _ => None,
    }
}

/// What is not of our form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign;

/// The comment among what nft keeps with an element.
pub(super) fn comment(data: &[u8]) -> Result<Option<RuleId>, Foreign> {
    let (mut rest, mut id) = (data, None);
    while let [kind, length, more @ ..] = rest {
        let (value, after) = more.split_at_checked(usize::from(*length)).ok_or(Foreign)?;
        rest = after;
        match *kind {
            COMMENT => {
                let text = text(value).ok_or(Foreign)?.to_owned();
                id = Some(RuleId::try_from(text).map_err(|_| Foreign)?);
            }
            OPEN => {}
            _ => return Err(Foreign),
        }
    }
    Ok(id)
}

/// What a counter of an element says; `None` for another expression.
pub(super) fn counter(expression: &[u8]) -> Option<Count> {
    let body = within(expression, BODY)?;
    let long = |kind| Some(u64::from_be_bytes(within(body, kind)?.try_into().ok()?));
    (text(within(expression, NAME)?)? == "counter").then_some(())?;
    Some(Count { packets: long(PACKETS)?, bytes: long(BYTES)? })
}

/// The parts of a key or value between two ends, each at a place of four bytes.
fn parts(first: &[u8], last: &[u8], types: &[SetType]) -> Option<Element> {
    let (mut first, mut last) = (first, last);
    let mut values = Vec::with_capacity(types.len());
    for kind in types {
        let size = size_of(*kind)?;
        values.push(part(first.get(..size)?, last.get(..size)?, *kind)?);
        let step = size.next_multiple_of(4);
        first = first.get(step..).unwrap_or_default();
        last = last.get(step..).unwrap_or_default();
    }
    first.is_empty().then_some(Element(values.into()))
}

/// Bytes of a value; `None` for what is no value.
const fn size_of(kind: SetType) -> Option<usize> {
    Some(match kind {
        SetType::Link | SetType::Ipv6 => 16,
        SetType::Ipv4 | SetType::Mark => 4,
        SetType::Mac => 6,
        SetType::Protocol => 1,
        SetType::Port => 2,
        SetType::Verdict | SetType::Counter => return None,
    })
}

fn part(first: &[u8], last: &[u8], kind: SetType) -> Option<ElementValue> {
    let same = first == last;
    Some(match kind {
        SetType::Ipv4 => {
            let ip = |bytes: &[u8]| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?));
            Span::new(ip(first)?, ip(last)?).into()
        }
        SetType::Ipv6 => {
            let ip = |bytes: &[u8]| Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?));
            Span::new(ip(first)?, ip(last)?).into()
        }
        SetType::Port => {
            let port = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.try_into().ok()?));
            Span::new(port(first)?, port(last)?).into()
        }
        SetType::Link if same => ElementValue::Link(text(first)?.parse().ok()?),
        SetType::Mac if same => MacAddr::from_bytes(first.try_into().ok()?)?.into(),
        SetType::Protocol if same => Protocol::new(*first.first()?).into(),
        SetType::Mark if same => ElementValue::Mark(u32::from_ne_bytes(first.try_into().ok()?)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_down_across_bytes() {
        assert_eq!(before(&[10, 1, 0, 0]), Some(vec![10, 0, 255, 255]));
        assert_eq!(before(&[1]), Some(vec![0]));
        assert_eq!(before(&[0, 0]), None);
    }

    #[test]
    fn comments_are_found_and_nonsense_is_none() {
        assert_eq!(comment(&[0, 4, b'a', b'/', b'1', 0]), Ok(Some(RuleId::fixed("a/1"))));
        assert_eq!(comment(&[1, 4, 0, 0, 0, 1]), Ok(None));
        assert_eq!(comment(&[0, 9, b'a']), Err(Foreign));
        assert_eq!(comment(&[7, 0]), Err(Foreign));
        assert_eq!(comment(&[]), Ok(None));
    }

    #[test]
    fn bytes_of_any_kind_do_not_panic() {
        let types = [SetType::Ipv4, SetType::Protocol, SetType::Port];
        let form = Form { key: types.to_vec(), value: vec![SetType::Verdict], interval: true };
        let mut seed = 1_u32;
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    seed.to_be_bytes()[0] % 12
                })
                .collect();
            let mut reader =
                Reader { form: &form, elements: Elements::default(), ends: Vec::new() };
            reader.message(&bytes);
            let _read = reader.done();
        }
    }
}
