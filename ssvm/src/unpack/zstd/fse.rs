//! FSE tables (RFC 8878 4.1): their description, and what decoding needs of them.

use super::bits::{Forward, Writer};

/// A distribution of symbols over the states of a table: how many each has; -1 is "less than one".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Distribution {
    pub(super) log: u32,
    pub(super) counts: Vec<i16>,
}

/// One state of a table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    pub(super) symbol: u8,
    pub(super) bits: u32,
    pub(super) base: u32,
}

/// A kind of code in the sequences section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    LiteralsLength,
    Offset,
    MatchLength,
}

impl Kind {
    /// Largest accuracy and largest symbol (RFC 8878 3.1.1.3.2.1.1, 3.1.1.3.2.1).
    const fn most(self) -> (u32, usize) {
        match self {
            Self::LiteralsLength => (9, 35),
            Self::Offset => (8, 31),
            Self::MatchLength => (9, 52),
        }
    }

    /// The default distribution (RFC 8878 3.1.1.3.2.2).
    pub(super) fn default_distribution(self) -> Distribution {
        let (log, counts): (u32, &[i16]) = match self {
            Self::LiteralsLength => (6, &LITERALS_LENGTH),
            Self::Offset => (5, &OFFSET),
            Self::MatchLength => (6, &MATCH_LENGTH),
        };
        Distribution { log, counts: counts.to_vec() }
    }
}

const LITERALS_LENGTH: [i16; 36] = [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
    -1, -1, -1, -1,
];
const OFFSET: [i16; 29] =
    [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1];
const MATCH_LENGTH: [i16; 53] = [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
];

impl Distribution {
    /// Reads the description at the start of `bytes`; returns it and its length in bytes.
    pub(super) fn read(bytes: &[u8], kind: Kind) -> Option<(Self, usize)> {
        let (most_log, most_symbol) = kind.most();
        let mut bits = Forward::new(bytes);
        let log = bits.read(4)? + 5;
        if log > most_log {
            return None;
        }
        let mut left = 1_i32 << log;
        let mut counts = Vec::new();
        while left > 0 {
            if counts.len() > most_symbol {
                return None;
            }
            let count = count(&mut bits, left)?;
            counts.push(count);
            left -= i32::from(count.abs());
            if count == 0 {
                zeros(&mut bits, &mut counts)?;
            }
        }
        let fits = left == 0 && counts.len() <= most_symbol + 1;
        fits.then(|| (Self { log, counts }, bits.bytes()))
    }

    /// The description, as [`Distribution::read`] reads it.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bits = Writer::default();
        bits.write(self.log - 5, 4);
        let mut left = 1_i32 << self.log;
        let mut counts = self.counts.iter().copied().peekable();
        while let Some(count) = counts.next() {
            write_count(&mut bits, left, count);
            left -= i32::from(count.abs());
            if count == 0 {
                let mut more = 0;
                while counts.next_if_eq(&0).is_some() {
                    more += 1;
                }
                write_zeros(&mut bits, more);
            }
        }
        bits.finish()
    }

    /// The table that it describes.
    pub(super) fn table(&self) -> Option<Vec<State>> {
        let size = 1_usize << self.log;
        let mut symbols = vec![0_u8; size];
        let mut next: Vec<u32> = Vec::with_capacity(self.counts.len());
        let mut high = size;
        for (symbol, count) in self.counts.iter().enumerate() {
            next.push(u32::from(count.unsigned_abs()));
            if *count == -1 {
                high -= 1;
                *symbols.get_mut(high)? = u8::try_from(symbol).ok()?;
            }
        }
        let (step, mask) = ((size >> 1) + (size >> 3) + 3, size - 1);
        let mut at = 0;
        for (symbol, count) in self.counts.iter().enumerate() {
            for _ in 0..(*count).max(0) {
                *symbols.get_mut(at)? = u8::try_from(symbol).ok()?;
                at = (at + step) & mask;
                while at >= high {
                    at = (at + step) & mask;
                }
            }
        }
        symbols.iter().map(|symbol| state(*symbol, &mut next, self.log)).collect()
    }
}

fn state(symbol: u8, next: &mut [u32], log: u32) -> Option<State> {
    let number = next.get_mut(usize::from(symbol))?;
    let bits = log.checked_sub(number.checked_ilog2()?)?;
    let base = (*number << bits) - (1 << log);
    *number += 1;
    Some(State { symbol, bits, base })
}

/// One count: values below a threshold take a bit less.
fn count(bits: &mut Forward<'_>, left: i32) -> Option<i16> {
    let (width, threshold) = width(left);
    let value = i32::try_from(bits.read(width)?).ok()?;
    let low = value & ((1 << (width - 1)) - 1);
    let value = if low < threshold {
        bits.unread();
        low
    } else if value > (1 << (width - 1)) - 1 {
        value - threshold
    } else {
        value
    };
    i16::try_from(value - 1).ok()
}

fn write_count(bits: &mut Writer, left: i32, count: i16) {
    let (width, threshold) = width(left);
    let value = i32::from(count) + 1;
    let half = 1 << (width - 1);
    let (written, width) = if value < threshold {
        (value, width - 1)
    } else if value >= half {
        (value + threshold, width)
    } else {
        (value, width)
    };
    bits.write(u32::try_from(written).unwrap_or(0), width);
}

/// Bits of the next count when `left` states are left, and the threshold below which one less is taken.
fn width(left: i32) -> (u32, i32) {
    let width = (left + 1).max(1).ilog2() + 1;
    (width, (1 << width) - 1 - (left + 1))
}

/// Symbols without states that follow one: in steps of up to three, as long as there are three.
fn zeros(bits: &mut Forward<'_>, counts: &mut Vec<i16>) -> Option<()> {
    loop {
        let more = bits.read(2)?;
        counts.extend(std::iter::repeat_n(0, usize::try_from(more).ok()?));
        if more < 3 {
            return Some(());
        }
    }
}

fn write_zeros(bits: &mut Writer, mut more: u32) {
    while more >= 3 {
        bits.write(3, 2);
        more -= 3;
    }
    bits.write(more, 2);
}
