//! The repeated offsets after a block (RFC 8878 3.1.1.5), read from its sequences.

use super::bits::Backward;
use super::blocks::{Sequences, Table, Tables};
use super::fse::{Kind, State};

/// The three last offsets; none where they came from before the reading began.
pub(super) type Repeats = [Option<u32>; 3];

/// Those at the start of a frame.
pub(super) const FIRST: Repeats = [Some(1), Some(4), Some(8)];

/// Extra bits of match length codes from 32 on (RFC 8878 3.1.1.3.2.1.1).
const MATCH_BITS: [u32; 21] =
    [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
/// Extra bits of literals length codes from 16 on.
const LITERALS_BITS: [u32; 20] =
    [1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// A table at work: its states, and the present one.
struct Decoder {
    log: u32,
    states: Vec<State>,
    at: State,
}

impl Decoder {
    fn new(table: Option<&Table>) -> Option<Self> {
        let (log, states) = match table? {
            Table::Spread(spread) => (spread.log, spread.table()?),
            Table::Single(symbol) => (0, vec![State { symbol: *symbol, ..State::default() }]),
        };
        Some(Self { log, states, at: State::default() })
    }

    fn begin(&mut self, bits: &mut Backward<'_>) -> Option<()> {
        let number = bits.read(self.log)?;
        self.at = *self.states.get(usize::try_from(number).ok()?)?;
        Some(())
    }

    fn next(&mut self, bits: &mut Backward<'_>) -> Option<()> {
        let number = u64::from(self.at.base) + bits.read(self.at.bits)?;
        self.at = *self.states.get(usize::try_from(number).ok()?)?;
        Some(())
    }
}

/// What `repeats` are after the sequences of a block; none when they cannot be read.
pub(super) fn after(
    mut repeats: Repeats,
    sequences: &Sequences<'_>,
    tables: &Tables,
) -> Option<Repeats> {
    if sequences.count == 0 {
        return Some(repeats);
    }
    let mut bits = Backward::new(sequences.bits)?;
    let mut literals = Decoder::new(tables.literals_length.as_ref())?;
    let mut offset = Decoder::new(tables.offset.as_ref())?;
    let mut matches = Decoder::new(tables.match_length.as_ref())?;
    literals.begin(&mut bits)?;
    offset.begin(&mut bits)?;
    matches.begin(&mut bits)?;
    for number in 1..=sequences.count {
        let code = u32::from(offset.at.symbol);
        if code > 31 {
            return None;
        }
        let value = (1_u64 << code) + bits.read(code)?;
        bits.read(extra(Kind::MatchLength, matches.at.symbol)?)?;
        bits.read(extra(Kind::LiteralsLength, literals.at.symbol)?)?;
        repeats = used(repeats, value, literals.at.symbol == 0)?;
        if number < sequences.count {
            literals.next(&mut bits)?;
            matches.next(&mut bits)?;
            offset.next(&mut bits)?;
        }
    }
    bits.is_empty().then_some(repeats)
}

fn extra(kind: Kind, code: u8) -> Option<u32> {
    let (from, bits): (u8, &[u32]) = match kind {
        Kind::MatchLength => (32, &MATCH_BITS),
        _ => (16, &LITERALS_BITS),
    };
    match code.checked_sub(from) {
        None => Some(0),
        Some(at) => bits.get(usize::from(at)).copied(),
    }
}

/// The offsets after one of `value` was used, in a sequence with or without literals.
fn used(repeats: Repeats, value: u64, without_literals: bool) -> Option<Repeats> {
    let [first, second, third] = repeats;
    if value > 3 {
        return Some([Some(u32::try_from(value - 3).ok()?), first, second]);
    }
    Some(match value + u64::from(without_literals) {
        1 => repeats,
        2 => [second, first, third],
        3 => [third, first, second],
        // one less than the last, which must not become nothing
        _ => [first.and_then(|first| first.checked_sub(1)), first, second],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_offsets_change_as_the_standard_says() {
        let some = |values: [u32; 3]| values.map(Some);
        let from = some([10, 20, 30]);
        for (value, without, expected) in [
            (4, false, some([1, 10, 20])),
            (1, false, from),
            (2, false, some([20, 10, 30])),
            (3, false, some([30, 10, 20])),
            (1, true, some([20, 10, 30])),
            (2, true, some([30, 10, 20])),
            (3, true, some([9, 10, 20])),
        ] {
            assert_eq!(used(from, value, without), Some(expected), "{value} {without}");
        }
        assert_eq!(used([None, None, Some(5)], 7, false), Some([Some(4), None, None]));
        assert_eq!(used([None, Some(6), None], 3, true), Some([None, None, Some(6)]));
    }
}
