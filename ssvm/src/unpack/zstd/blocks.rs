//! Compressed blocks (RFC 8878 3.1.1.3), taken apart as far as the next block may need it.

use super::fse::{Distribution, Kind};

/// What a table was set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Spread(Distribution),
    /// One symbol alone. A dictionary cannot say this.
    Single(u8),
}

/// What blocks may use again of those before them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    /// Description of the Huffman tree of literals, as it stood in the stream.
    pub(super) literals: Option<Vec<u8>>,
    pub(super) literals_length: Option<Table>,
    pub(super) offset: Option<Table>,
    pub(super) match_length: Option<Table>,
}

/// The sequences of a block: how many, and their bits.
pub(super) struct Sequences<'a> {
    pub(super) count: usize,
    pub(super) bits: &'a [u8],
}

impl Tables {
    /// Takes a compressed block apart; its tables are kept, its sequences returned.
    pub(super) fn take<'a>(&mut self, block: &'a [u8]) -> Option<Sequences<'a>> {
        let rest = self.literals(block)?;
        let (count, rest) = number_of_sequences(rest)?;
        if count == 0 {
            return rest.is_empty().then_some(Sequences { count, bits: rest });
        }
        let (modes, rest) = rest.split_first()?;
        if modes & 3 != 0 {
            return None;
        }
        let rest = table(&mut self.literals_length, Kind::LiteralsLength, modes >> 6, rest)?;
        let rest = table(&mut self.offset, Kind::Offset, modes >> 4 & 3, rest)?;
        let bits = table(&mut self.match_length, Kind::MatchLength, modes >> 2 & 3, rest)?;
        Some(Sequences { count, bits })
    }

    /// Skips the literals; keeps the description of their tree if there is one. Returns what follows.
    fn literals<'a>(&mut self, block: &'a [u8]) -> Option<&'a [u8]> {
        let first = *block.first()?;
        let (kind, format) = (first & 3, first >> 2 & 3);
        if kind < 2 {
            let (header, size) = plain_size(block, format)?;
            let length = if kind == 0 { size } else { 1 };
            return block.get(header.checked_add(length)?..);
        }
        let (header, size) = packed_size(block, format)?;
        let (content, rest) = block.get(header..)?.split_at_checked(size)?;
        if kind == 2 {
            self.literals = Some(content.get(..tree_length(content)?)?.to_vec());
        }
        Some(rest)
    }
}

/// Length of the header and of the literals, raw or repeated.
fn plain_size(block: &[u8], format: u8) -> Option<(usize, usize)> {
    let byte = |at: usize| block.get(at).copied().map(usize::from);
    match format {
        1 => Some((2, byte(0)? >> 4 | byte(1)? << 4)),
        3 => Some((3, byte(0)? >> 4 | byte(1)? << 4 | byte(2)? << 12)),
        _ => Some((1, byte(0)? >> 3)),
    }
}

/// Length of the header and of the packed literals with their tree.
fn packed_size(block: &[u8], format: u8) -> Option<(usize, usize)> {
    let (header, width) = match format {
        0 | 1 => (3, 10),
        2 => (4, 14),
        _ => (5, 18),
    };
    let mut bytes = [0; 8];
    bytes.get_mut(..header)?.copy_from_slice(block.get(..header)?);
    let size = u64::from_le_bytes(bytes) >> (4 + width) & ((1 << width) - 1);
    Some((header, usize::try_from(size).ok()?))
}

/// Length of a Huffman tree's description (RFC 8878 4.2.1).
fn tree_length(content: &[u8]) -> Option<usize> {
    let first = usize::from(*content.first()?);
    Some(1 + if first < 128 { first } else { (first - 127).div_ceil(2) })
}

fn number_of_sequences(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let byte = |at: usize| bytes.get(at).copied().map(usize::from);
    let (length, count) = match byte(0)? {
        first @ 0..128 => (1, first),
        255 => (3, byte(1)? + (byte(2)? << 8) + 0x7f00),
        first => (2, ((first - 128) << 8) + byte(1)?),
    };
    Some((count, bytes.get(length..)?))
}

fn table<'a>(table: &mut Option<Table>, kind: Kind, mode: u8, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (set, length) = match mode {
        0 => (Table::Spread(kind.default_distribution()), 0),
        1 => (Table::Single(*bytes.first()?), 1),
        2 => {
            let (spread, length) = Distribution::read(bytes, kind)?;
            (Table::Spread(spread), length)
        }
        _ => return table.is_some().then_some(bytes),
    };
    *table = Some(set);
    bytes.get(length..)
}
