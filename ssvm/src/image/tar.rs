//! Members of a tar archive (POSIX ustar with GNU sizes), as OVA uses it: plain files with plain names, nothing else.

use super::bytes::Bytes;
use super::layout::Block;
use super::refusal::{Judgement, RefusalCode, ensure, refuse};

const RECORD: u64 = 512;
/// Most members.
const MEMBERS: usize = 256;

/// A file in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) at: u64,
    pub(super) length: u64,
}

/// Whether `bytes` begin with a header whose checksum is right.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar") && sums_up(bytes)
}

/// Every member of the archive, in order.
pub(super) fn members(image: &dyn Bytes) -> Result<Vec<Member>, Judgement> {
    let mut members: Vec<Member> = Vec::new();
    let mut at = 0;
    loop {
        let header = Block::read(image, at, RECORD)?;
        if header.bytes().iter().all(|byte| *byte == 0) {
            return Ok(members);
        }
        ensure(is_header(header.bytes()), "a header of the archive has a wrong checksum")?;
        let length = size(&header)?;
        let data = at + RECORD;
        let next = length.checked_next_multiple_of(RECORD).and_then(|long| data.checked_add(long));
        let Some(next) = next else {
            return refuse(RefusalCode::Malformed, "a member of the archive has no end");
        };
        match header.bytes().get(156).copied() {
            Some(b'0' | 0) => {
                let name = name(&header)?;
                let twice = members.iter().any(|other| other.name == name);
                ensure(!twice, "two members of the archive have the same name")?;
                members.push(Member { name, at: data, length });
            }
            Some(b'x' | b'g') => harmless(&Block::read(image, data, length.min(RECORD * 128))?)?,
            kind => {
                let kind = char::from(kind.unwrap_or(b'?'));
                let detail = format!("a member of the archive is no plain file (type {kind:?})");
                return refuse(RefusalCode::ArchivePath, detail);
            }
        }
        ensure(members.len() <= MEMBERS, "the archive has more than 256 members")?;
        at = next;
    }
}

/// Octal text, or GNU's binary form when the first bit is set.
fn size(header: &Block) -> Result<u64, Judgement> {
    let field: [u8; 12] = header.array(124);
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        let high = [field.get(..4).unwrap_or_default(), &[]].concat();
        ensure(high == [0x80, 0, 0, 0], "a member of the archive is larger than 64 bits say")?;
        return Ok(header.u64_be(128));
    }
    let text = field.split(|byte| matches!(byte, 0 | b' ')).find(|word| !word.is_empty());
    let text = std::str::from_utf8(text.unwrap_or(b"0")).ok();
    match text.and_then(|text| u64::from_str_radix(text, 8).ok()) {
        Some(size) => Ok(size),
        None => refuse(RefusalCode::Malformed, "a member of the archive has no size"),
    }
}

/// A name that stays where it is put, wherever that is.
fn name(header: &Block) -> Result<String, Judgement> {
    let prefix: [u8; 155] = header.array(345);
    let ustar = header.bytes().get(257..263) == Some(b"ustar\0");
    let has_prefix = ustar && prefix.first().is_some_and(|byte| *byte != 0);
    let field: [u8; 100] = header.array(0);
    let name = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ' | '+');
    let sound = !name.is_empty() && !name.starts_with('.') && name.chars().all(plain);
    if !sound || has_prefix {
        let shown: String = name.chars().take(60).collect();
        let detail = format!("a member of the archive is named {shown:?}, which is no plain name");
        return refuse(RefusalCode::ArchivePath, detail);
    }
    Ok(name)
}

/// An extended header may say when a file was made, not what it is called, how long it is or where it points to.
fn harmless(records: &Block) -> Result<(), Judgement> {
    let text = String::from_utf8_lossy(records.bytes());
    for record in text.lines() {
        let key = record.split_once(' ').and_then(|(_, rest)| rest.split_once('='));
        let key = key.map_or("", |(key, _)| key);
        if matches!(key, "path" | "linkpath" | "size") || key.starts_with("GNU.") {
            let detail = format!("an extended header of the archive sets {key}");
            return refuse(RefusalCode::ArchivePath, detail);
        }
    }
    Ok(())
}

/// The checksum counts its own field as spaces.
fn sums_up(bytes: &[u8]) -> bool {
    let Some(header) = bytes.get(..512) else { return false };
    let one = |(at, byte): (usize, &u8)| {
        if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*byte) }
    };
    let sum: u32 = header.iter().enumerate().map(one).sum();
    let field = header.get(148..156).unwrap_or_default();
    let text: String = field.iter().map(|byte| char::from(*byte)).collect();
    let text = text.trim_matches(['\0', ' ']);
    u32::from_str_radix(text, 8).is_ok_and(|stored| stored == sum)
}
