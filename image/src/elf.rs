//! Reads what we need of ELF files: needed libraries, symbol versions asked for and offered, module information.
//!
//! 64-bit little-endian only, by section headers, with every offset checked: a damaged file gives "no", never a panic.

use std::collections::BTreeSet;

const SHT_DYNAMIC: u32 = 6;
const DT_NEEDED: u64 = 1;
const HEADER: &[u8] = b"\x7fELF\x02\x01";

/// A parsed ELF file.
#[derive(Debug)]
pub(crate) struct Elf<'a> {
    bytes: &'a [u8],
    sections: Vec<Section>,
}

#[derive(Clone, Debug)]
struct Section {
    name: String,
    kind: u32,
    link: usize,
    start: usize,
    end: usize,
}

impl<'a> Elf<'a> {
    /// `None` when this is no ELF file of our kind.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        bytes.strip_prefix(HEADER)?;
        let (offset, count) = (long(bytes, 0x28)?, half(bytes, 0x3c)?);
        let names_index = usize::from(half(bytes, 0x3e)?);
        let header = |index: u16| offset.checked_add(usize::from(index) * 64);
        let raw: Vec<(usize, Section)> =
            (0..count).map(|index| section(bytes, header(index)?)).collect::<Option<_>>()?;
        let names = raw.get(names_index).map(|(_, section)| section.clone());
        let names =
            names.and_then(|section| bytes.get(section.start..section.end)).unwrap_or_default();
        let named = |(at, section): (usize, Section)| Section { name: text(names, at), ..section };
        Some(Self { bytes, sections: raw.into_iter().map(named).collect() })
    }

    /// Names of the shared libraries it must have.
    pub(crate) fn needed(&self) -> Vec<String> {
        let Some(dynamic) = self.sections.iter().find(|section| section.kind == SHT_DYNAMIC) else {
            return Vec::new();
        };
        let strings = self
            .sections
            .get(dynamic.link)
            .map(|section| self.content(section))
            .unwrap_or_default();
        let entries = self.content(dynamic).chunks_exact(16);
        let needed =
            |entry: &[u8]| (long(entry, 0)? as u64 == DT_NEEDED).then(|| long(entry, 8)).flatten();
        entries.filter_map(needed).map(|at| text(strings, at)).collect()
    }

    /// The path of the loader it wants.
    pub(crate) fn interpreter(&self) -> Option<String> {
        Some(text(self.named(".interp")?, 0))
    }

    /// All texts in the dynamic string table that name a C library version, as `(major, minor)`.
    pub(crate) fn glibc_versions(&self) -> BTreeSet<(u32, u32)> {
        let strings = self.named(".dynstr").unwrap_or_default();
        strings.split(|&byte| byte == 0).filter_map(glibc_version).collect()
    }

    /// `key=value` pairs of a kernel module.
    pub(crate) fn modinfo(&self) -> Vec<(String, String)> {
        let pair = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        self.named(".modinfo")
            .unwrap_or_default()
            .split(|&byte| byte == 0)
            .filter_map(pair)
            .collect()
    }

    fn named(&self, name: &str) -> Option<&'a [u8]> {
        self.sections
            .iter()
            .find(|section| section.name == name)
            .map(|section| self.content(section))
    }

    fn content(&self, section: &Section) -> &'a [u8] {
        self.bytes.get(section.start..section.end).unwrap_or_default()
    }
}

/// The place of its name and the section at this offset.
fn section(bytes: &[u8], at: usize) -> Option<(usize, Section)> {
    let header = bytes.get(at..at.checked_add(64)?)?;
    let start = long(header, 0x18)?;
    let end = start.checked_add(long(header, 0x20)?)?;
    let (kind, link) = (word(header, 0x04)?, word(header, 0x28)? as usize);
    Some((word(header, 0)? as usize, Section { name: String::new(), kind, link, start, end }))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok()
}

fn text(table: &[u8], at: usize) -> String {
    let bytes = table.get(at..).unwrap_or_default();
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn glibc_version(text: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix("GLIBC_")?;
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_program_needs_the_c_library() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = Elf::parse(&bytes).unwrap();
        assert!(elf.needed().contains(&"libc.so.6".to_owned()), "{:?}", elf.needed());
        assert_eq!(elf.interpreter().as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
        assert!(elf.glibc_versions().iter().any(|version| *version >= (2, 2)));
    }

    #[test]
    fn damaged_files_give_no() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(Elf::parse(b"#!/bin/sh").is_none());
        for length in [0, 6, 0x3f, 0x40, bytes.len() / 2] {
            assert!(Elf::parse(&bytes[..length]).is_none_or(|elf| elf.needed().is_empty()));
        }
        let mut broken = bytes;
        broken[0x28..0x30].fill(0xff);
        assert!(Elf::parse(&broken).is_none());
    }
}
