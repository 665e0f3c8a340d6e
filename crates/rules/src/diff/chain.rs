//! Changing some rules of a chain while the others keep their handles and counters.
//!
//! What both lists have in the same order stays: the common beginning and end, and between them the longest run of equal
//! rules that does not cross itself. The rest is removed and inserted at its place. Where nothing would stay, or the
//! handles are not known, the chain is filled anew.

use std::collections::{HashMap, VecDeque};

use super::{Change, RuleEdit};
use crate::{Ident, ObservedChain, ObservedRule, Rule};

/// The change that gives the chain these rules; `None` when it has them.
pub(super) fn change(name: &Ident, is: Option<&ObservedChain>, wanted: &[Rule]) -> Option<Change> {
    let is = is.map(|chain| chain.rules.as_slice()).unwrap_or_default();
    let kept = kept(is, wanted);
    if kept.len() == is.len() && kept.len() == wanted.len() {
        return None;
    }
    let name = name.clone();
    Some(match edits(is, wanted, &kept) {
        Some(edits) => Change::EditChain { name, edits },
        None => Change::FillChain { name, before: is.len(), rules: wanted.to_vec() },
    })
}

/// Edits that keep these pairs; `None` when there are none or they cannot be said.
fn edits(is: &[ObservedRule], wanted: &[Rule], kept: &[(usize, usize)]) -> Option<Vec<RuleEdit>> {
    let handles: Vec<u64> = is.iter().map(|rule| rule.handle).collect::<Option<_>>()?;
    if kept.is_empty() {
        return None;
    }
    let mut stays = vec![false; is.len()];
    for (old, _) in kept {
        *stays.get_mut(*old)? = true;
    }
    let gone = handles.iter().zip(&stays).filter(|(_, stays)| !**stays);
    let mut edits: Vec<RuleEdit> =
        gone.map(|(handle, _)| RuleEdit::Delete { handle: *handle }).collect();
    let mut rest = kept.iter().peekable();
    for (position, rule) in wanted.iter().enumerate() {
        match rest.peek() {
            Some((_, new)) if *new == position => drop(rest.next()),
            Some((old, _)) => {
                let before = *handles.get(*old)?;
                edits.push(RuleEdit::Insert { before, rule: rule.clone() });
            }
            None => edits.push(RuleEdit::Append { rule: rule.clone() }),
        }
    }
    Some(edits)
}

/// Pairs of positions, in `is` and in `wanted`, of rules that stay; rising in both. Only what is between the common
/// beginning and the common end is written as text.
fn kept(is: &[ObservedRule], wanted: &[Rule]) -> Vec<(usize, usize)> {
    let start = is.iter().zip(wanted).take_while(|(old, new)| old.is(new)).count();
    let rest = (is.get(start..).unwrap_or_default(), wanted.get(start..).unwrap_or_default());
    let end =
        rest.0.iter().rev().zip(rest.1.iter().rev()).take_while(|(old, new)| old.is(new)).count();
    let (is_end, wanted_end) = (is.len() - end, wanted.len() - end);
    let between = wanted.get(start..wanted_end).unwrap_or_default();
    let made: Vec<ObservedRule> = between.iter().map(ObservedRule::from).collect();
    let middle = rising(&matches(is.get(start..is_end).unwrap_or_default(), &made));
    let shifted = middle.into_iter().map(|(old, new)| (old + start, new + start));
    let beginning = (0..start).map(|at| (at, at));
    let ending = (0..end).map(|at| (is_end + at, wanted_end + at));
    beginning.chain(shifted).chain(ending).collect()
}

/// Each rule of `is` with its equal in `made`; of several equal ones the first with the first.
fn matches(is: &[ObservedRule], made: &[ObservedRule]) -> Vec<(usize, usize)> {
    let mut places: HashMap<(&str, &str), VecDeque<usize>> = HashMap::new();
    for (position, rule) in made.iter().enumerate() {
        places.entry((&rule.id, &rule.text)).or_default().push_back(position);
    }
    let found = is.iter().enumerate().filter_map(|(old, rule)| {
        let new = places.get_mut(&(rule.id.as_str(), rule.text.as_str()))?.pop_front()?;
        Some((old, new))
    });
    found.collect()
}

/// The longest part of `pairs` whose second numbers rise, in n log n (patience sorting).
fn rising(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // the last pair of the best run of each length, and for each pair the one before it in its run
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    let second = |at: usize| pairs.get(at).map_or(0, |(_, new)| *new);
    for (at, (_, new)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| second(*end) < *new);
        before.push(length.checked_sub(1).and_then(|shorter| ends.get(shorter).copied()));
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut run = Vec::with_capacity(ends.len());
    let mut at = ends.last().copied();
    while let Some(here) = at {
        run.extend(pairs.get(here));
        at = before.get(here).copied().flatten();
    }
    run.reverse();
    run
}

#[cfg(test)]
mod tests {
    use super::rising;

    #[test]
    fn the_longest_rising_part_is_found() {
        let of = |news: &[usize]| {
            let pairs: Vec<_> = news.iter().copied().enumerate().collect();
            rising(&pairs).into_iter().map(|(_, new)| new).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), Vec::<usize>::new());
        assert_eq!(of(&[3]), [3]);
        assert_eq!(of(&[0, 1, 2]), [0, 1, 2]);
        assert_eq!(of(&[1, 2, 3, 0]), [1, 2, 3]);
        assert_eq!(of(&[5, 0, 1, 6, 2, 3]), [0, 1, 2, 3]);
        assert_eq!(of(&[2, 1, 0]).len(), 1);
    }
}
