//! One packet on its way through the chains of one hook: rules in order, jumps and returns.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice_api::types::LinkName;

use super::expr::{self, Done, Stop};
use super::{End, Packet, Tracking, Ways};
use crate::{Chain, Ident, Policy, RejectWith, Rule, RuleId, Table, TableId};

/// Jumps within jumps that are followed; the kernel allows 16 and refuses loops.
const DEPTH: usize = 32;

/// A rule that a packet matched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hit {
    /// Its table.
    pub table: TableId,
    /// Its chain.
    pub chain: Ident,
    /// Its place in the chain, from 0.
    pub place: usize,
    /// Its id.
    pub rule: RuleId,
    /// The ids of the elements of sets and maps by which it matched.
    pub elements: Vec<RuleId>,
    /// False when it counted the packet and then did nothing, because its map had nothing for the packet.
    pub whole: bool,
}

/// What was come by in evaluating one rule.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) elements: Vec<RuleId>,
    pub(super) counted: bool,
}

/// Where an end of a connection is translated to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    /// Where to; without a port the packet's own is kept.
    pub to: End,
    /// All of which it could be, where the rule spreads connections.
    pub among: Vec<End>,
    /// The rule.
    pub by: Hit,
}

/// Who lost a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// A rule.
    Rule(Hit),
    /// The policy of a base chain, at its end.
    Policy(TableId, Ident),
}

/// What the chains of a hook did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    On,
    Dropped(By),
    Rejected(RejectWith, Hit),
}

/// Whether connection tracking has seen the packet.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    NotYet(Tracking),
    Never,
    /// It fits no connection, so nothing is known of one.
    Invalid,
    Tracked(Tracking),
}

/// Which end the chains that are being evaluated may translate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Translates {
    Nothing,
    Destination,
    Source,
}

/// The packet as it is by now, and what was found out on the way.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) tables: &'a BTreeMap<TableId, Table>,
    pub(super) ways: &'a Ways,
    pub(super) packet: Packet,
    pub(super) oif: Option<LinkName>,
    pub(super) seen: Seen,
    pub(super) translates: Translates,
    /// The connection's destination is settled, translated or not.
    pub(super) destination_settled: bool,
    /// The connection's source is settled.
    pub(super) source_settled: bool,
    pub(super) destination: Option<Translation>,
    pub(super) source: Option<Translation>,
    pub(super) helper: Option<Ident>,
    pub(super) offloaded: bool,
    pub(super) path: Vec<Hit>,
}

/// A chain in its table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) id: &'a TableId,
    pub(super) table: &'a Table,
    pub(super) name: &'a Ident,
    pub(super) chain: &'a Chain,
}

impl<'a> Run<'a> {
    /// What tracking says, if it has seen the packet.
    pub(super) fn tracking(&self) -> Option<&Tracking> {
        match &self.seen {
            Seen::Tracked(tracking) => Some(tracking),
            Seen::NotYet(_) | Seen::Never | Seen::Invalid => None,
        }
    }

    pub(super) fn tracking_mut(&mut self) -> Option<&mut Tracking> {
        match &mut self.seen {
            Seen::Tracked(tracking) => Some(tracking),
            Seen::NotYet(_) | Seen::Never | Seen::Invalid => None,
        }
    }

    /// A base chain, with its policy at the end.
    pub(super) fn base(&mut self, place: Place<'a>) -> Passed {
        match self.chain(place, 0) {
            Some((Stop::Drop, hit)) => Passed::Dropped(By::Rule(hit)),
            Some((Stop::Reject(with), hit)) => Passed::Rejected(with, hit),
            Some(_) => Passed::On,
            None => match place.chain.hook.map(|hook| hook.policy) {
                Some(Policy::Drop) => {
                    Passed::Dropped(By::Policy(place.id.clone(), place.name.clone()))
                }
                _ => Passed::On,
            },
        }
    }

    /// The rules of a chain; `None` when they end, or return, without a verdict on the packet.
    fn chain(&mut self, place: Place<'a>, depth: usize) -> Option<(Stop<'a>, Hit)> {
        for (number, rule) in place.chain.rules.iter().enumerate() {
            let mut trace = Trace::default();
            let done = self.rule(place.table, rule, &mut trace);
            let whole = done != Done::No;
            if !whole && !trace.counted {
                continue;
            }
            let hit = Hit {
                table: place.id.clone(),
                chain: place.name.clone(),
                place: number,
                rule: rule.id.clone(),
                elements: trace.elements,
                whole,
            };
            self.path.push(hit.clone());
            let Done::Stop(stop) = done else { continue };
            match stop {
                Stop::Return => return None,
                Stop::Jump(to) => {
                    let ended = self.subchain(place, to, depth);
                    if ended.is_some() {
                        return ended;
                    }
                }
                Stop::Goto(to) => return self.subchain(place, to, depth),
                Stop::Translate(to, among) => {
                    self.translate(Translation { to, among, by: hit.clone() });
                    return Some((Stop::Accept, hit));
                }
                stop => return Some((stop, hit)),
            }
        }
        None
    }

    /// The expressions of a rule, up to the first that does not match or ends it.
    fn rule(&mut self, table: &'a Table, rule: &'a Rule, trace: &mut Trace) -> Done<'a> {
        for expr in &rule.exprs {
            match expr::evaluate(self, table, expr, trace) {
                Done::On => {}
                done => return done,
            }
        }
        Done::On
    }

    fn translate(&mut self, translation: Translation) {
        match self.translates {
            Translates::Destination => self.destination = Some(translation),
            Translates::Source => self.source = Some(translation),
            // the kernel takes no translation in such a chain
            Translates::Nothing => {}
        }
    }

    fn subchain(
        &mut self,
        from: Place<'a>,
        to: &'a Ident,
        depth: usize,
    ) -> Option<(Stop<'a>, Hit)> {
        let chain = from.table.chains.get(to)?;
        let place = Place { name: to, chain, ..from };
        if depth < DEPTH { self.chain(place, depth + 1) } else { None }
    }
}
