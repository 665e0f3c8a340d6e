//! What the rules and elements have counted that a script takes away, straight from the kernel: costs what the change does.
//!
//! Guarantees: a rule or element that is gone already is left out. Messages by hand (linux/netfilter/nf_tables.h), as in
//! `elements`.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};

use super::elements::{self, attributes, comment, counter, present, within};
use super::generation::{INET, attribute, nested, question};
use crate::model::USAGE_TABLE;
use crate::netfilter::{HEADER, ask};
use crate::nft::{Change, Counters, RuleEdit, TableId};

/// NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE.
const GET: u16 = 0x0a07;
/// NFTA_RULE_TABLE and so on.
const TABLE: u16 = 1;
const CHAIN: u16 = 2;
const HANDLE: u16 = 3;
const EXPRESSIONS: u16 = 4;
const USERDATA: u16 = 7;

/// Of more rules or elements than this all that are beside them are listed: a question each would take longer.
const MANY: usize = 64;
/// Times that a listing is begun, while rules change under it.
const LOOKS: usize = 5;

/// What a change takes away.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Nothing that counts.
    Nothing,
    /// Some things, each of which is asked for.
    Some,
    /// Whole sets.
    Everything,
}

/// How much of what counts in its table goes with `change`.
pub(super) fn leaving(table: &TableId, change: &Change) -> Leaving {
    let elements = table.name.as_str() == USAGE_TABLE;
    match change {
        Change::DeleteTable | Change::FlushSet { .. } | Change::DeleteSet { .. } if elements => {
            Leaving::Everything
        }
        Change::RemoveElements { .. } if elements => Leaving::Some,
        Change::DeleteTable | Change::EditChain { .. } | Change::DeleteChain { .. } => {
            Leaving::Some
        }
        Change::FillChain { before, .. } if *before > 0 => Leaving::Some,
        _ => Leaving::Nothing,
    }
}

/// Adds what goes with `change` to `counters`.
pub(super) async fn add(
    counters: &mut Counters,
    table: &TableId,
    change: &Change,
) -> io::Result<()> {
    match change {
        Change::EditChain { name, edits } => {
            let gone = edits.iter().filter_map(|edit| match edit {
                RuleEdit::Delete { handle } => Some(*handle),
                RuleEdit::Insert { .. } | RuleEdit::Append { .. } => None,
            });
            let gone: Vec<u64> = gone.collect();
            if gone.len() > MANY {
                rules(counters, table, Some(name.as_str()), None).await?;
            } else {
                for handle in gone {
                    rules(counters, table, Some(name.as_str()), Some(handle)).await?;
                }
            }
        }
        Change::FillChain { name, .. } | Change::DeleteChain { name } => {
            rules(counters, table, Some(name.as_str()), None).await?;
        }
        Change::DeleteTable => {
            rules(counters, table, None, None).await?;
        }
        Change::RemoveElements { name, keys } => {
            let counts = match keys.first() {
                Some(one) if keys.len() > MANY => elements::all(table, name.as_str(), one).await?,
                _ => elements::some(table, name.as_str(), keys).await?,
            };
            for (id, count) in counts {
                counters.elements.entry((name.to_string(), id)).or_default().add(count);
            }
        }
        _ => {}
    }
    Ok(())
}

/// What all rules of a table counted, each by itself: all of them, or it fails, since what is missing is taken for gone.
pub(super) async fn of_rules(table: &TableId) -> io::Result<Counters> {
    for _ in 0..LOOKS {
        let mut counters = Counters::default();
        if rules(&mut counters, table, None, None).await? {
            // a rule without an id is nobody's
            counters.each.retain(|(id, _), _| !id.is_empty());
            return Ok(counters);
        }
    }
    Err(io::Error::other("they change faster than they can be read"))
}

/// The rule of that number, or all of a chain, or all; false when they changed meanwhile.
async fn rules(
    counters: &mut Counters,
    table: &TableId,
    chain: Option<&str>,
    handle: Option<u64>,
) -> io::Result<bool> {
    let mut which = attribute(TABLE, table.name.as_str());
    which.extend(chain.into_iter().flat_map(|chain| attribute(CHAIN, chain)));
    if let Some(handle) = handle {
        which.extend(nested(HANDLE, &handle.to_be_bytes()));
    }
    let kind = if handle.is_some() { NLM_F_ACK } else { NLM_F_DUMP };
    let question = question(GET, NLM_F_REQUEST | kind, INET, &which);
    let asked = ask(&question, |message| {
        if let Some((id, handle, count)) = rule(message) {
            counters.each.entry((id, handle)).or_default().add(count);
        }
    });
    present(asked.await)
}

/// Id, number and count of a rule; `None` for one that does not count.
fn rule(message: &[u8]) -> Option<(String, u64, crate::nft::Count)> {
    let body = message.get(HEADER + 4..)?;
    let handle = u64::from_be_bytes(within(body, HANDLE)?.try_into().ok()?);
    let count = attributes(within(body, EXPRESSIONS)?).find_map(|one| counter(one.value()))?;
    let id = comment(within(body, USERDATA).unwrap_or_default()).ok().flatten();
    Some((id.map(|id| id.to_string()).unwrap_or_default(), handle, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_and_nonsense_is_none() {
        let long = |kind: u16, number: u64| nested(kind, &number.to_be_bytes());
        let counted = [attribute(1, "counter"), nested(2, &[long(1, 700), long(2, 7)].concat())];
        let other = [attribute(1, "cmp"), nested(2, &[])];
        let expressions = [nested(1, &other.concat()), nested(1, &counted.concat())].concat();
        let body = [
            attribute(TABLE, "sluice"),
            long(HANDLE, 12),
            nested(EXPRESSIONS, &expressions),
            nested(USERDATA, &[0, 7, b'f', b'w', b'/', b'a', b'-', b'1', 0]),
        ];
        let message = question(GET, 0, INET, &body.concat());
        let count = crate::nft::Count { packets: 7, bytes: 700 };
        assert_eq!(rule(&message), Some(("fw/a-1".to_owned(), 12, count)));
        for cut in 0..message.len() {
            let _short = rule(&message[..cut]);
        }
    }
}
