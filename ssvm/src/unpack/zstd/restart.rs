//! A place in a frame, and a decoder that begins there.

use serde::{Deserialize, Serialize};

use super::MAGIC;
use super::blocks::{Table, Tables};
use super::fse::{Distribution, Kind};
use super::sequences::Repeats;

/// First bytes of a dictionary (RFC 8878 5).
const DICTIONARY: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];
/// Number of ours; frames do not name it.
const NUMBER: u32 = 1;
/// A tree of two symbols of the same weight, for frames whose literals had none so far.
const ANY_TREE: [u8; 2] = [128, 0x10];

/// Where decoding can begin anew, with all that it needs but the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Window of the frame in bytes: so much of what was unpacked is needed.
    window: u64,
    /// Whether four bytes of checksum end the frame.
    checksum: bool,
    /// Description of the literals' tree.
    literals: Option<Vec<u8>>,
    /// Descriptions of the tables of literals lengths, offsets and match lengths.
    tables: [Option<Vec<u8>>; 3],
    /// The three last offsets.
    repeats: [u32; 3],
}

impl Place {
    /// None while something is not known, or cannot be said in a dictionary.
    pub(super) fn new(
        window: u64,
        checksum: bool,
        tables: &Tables,
        repeats: Repeats,
    ) -> Option<Self> {
        let [Some(first), Some(second), Some(third)] = repeats else { return None };
        let described = |table: &Option<Table>| match table {
            Some(Table::Spread(spread)) => Some(Some(spread.write())),
            Some(Table::Single(_)) => None,
            None => Some(None),
        };
        Some(Self {
            window,
            checksum,
            literals: tables.literals.clone(),
            tables: [
                described(&tables.literals_length)?,
                described(&tables.offset)?,
                described(&tables.match_length)?,
            ],
            repeats: [first, second, third],
        })
    }

    /// Bytes of what was unpacked that are needed to go on.
    pub fn window(&self) -> u64 {
        self.window
    }

    pub(super) const fn checksum(&self) -> bool {
        self.checksum
    }

    /// Bytes of checksum that end the frame.
    pub(crate) const fn checksum_length(&self) -> usize {
        if self.checksum { 4 } else { 0 }
    }

    pub(super) fn tables(&self) -> Tables {
        let [literals_length, offset, match_length] = &self.tables;
        let read = |bytes: &Option<Vec<u8>>, kind| {
            let (spread, _) = Distribution::read(bytes.as_ref()?, kind)?;
            Some(Table::Spread(spread))
        };
        Tables {
            literals: self.literals.clone(),
            literals_length: read(literals_length, Kind::LiteralsLength),
            offset: read(offset, Kind::Offset),
            match_length: read(match_length, Kind::MatchLength),
        }
    }

    pub(super) fn repeats(&self) -> Repeats {
        self.repeats.map(Some)
    }

    /// A dictionary with the tables, the offsets, and `window`, the last bytes that were unpacked.
    pub(crate) fn dictionary(&self, window: &[u8]) -> Vec<u8> {
        let [literals_length, offset, match_length] = &self.tables;
        let table = |bytes: &Option<Vec<u8>>, kind: Kind| {
            bytes.clone().unwrap_or_else(|| kind.default_distribution().write())
        };
        let mut dictionary = DICTIONARY.to_vec();
        dictionary.extend(NUMBER.to_le_bytes());
        dictionary.extend(self.literals.as_deref().unwrap_or(&ANY_TREE));
        dictionary.extend(table(offset, Kind::Offset));
        dictionary.extend(table(match_length, Kind::MatchLength));
        dictionary.extend(table(literals_length, Kind::LiteralsLength));
        dictionary.extend(self.repeats.iter().flat_map(|offset| offset.to_le_bytes()));
        dictionary.extend_from_slice(window);
        dictionary
    }

    /// A frame header with a window that is large enough; no checksum, since it would be of the whole frame.
    pub(crate) fn header(&self) -> Vec<u8> {
        let log = self.window.max(1024).next_power_of_two().ilog2();
        let descriptor = u8::try_from((log - 10) << 3).unwrap_or(u8::MAX);
        [&MAGIC[..], &[0, descriptor]].concat()
    }
}
