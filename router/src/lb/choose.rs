//! Which member serves: pure, over what the caller says of each.
//!
//! Guarantees: a member that cannot take a client is never chosen while another can; backups are chosen only when nobody
//! else can; shares follow the weights exactly (round robin), by load (least connections) or in the mean (source).

use std::net::IpAddr;

use sluice_api::config::balancer::Algorithm;

/// What counts of one member at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Tells it from the others, for as long as it exists.
    pub serial: u64,
    /// Its share; 0 gets nothing.
    pub weight: u32,
    /// Well, not draining, and not tried for this client already.
    pub usable: bool,
    /// Serves only when nobody else can.
    pub backup: bool,
    /// Connections it has.
    pub sessions: u32,
}

/// The memory of a rule's round robin: each member's credit.
///
/// Each turn a member gains its weight, the richest serves and pays the sum: the smooth form, in which a heavy member's
/// turns are spread among the others'.
#[derive(Debug, Default)]
pub struct Turns {
    credit: Vec<(u64, i64)>,
}

/// Chooses among `candidates` for a client at `source`; `None` when nobody can serve.
pub fn choose(
    algorithm: Algorithm,
    candidates: &[Candidate],
    source: IpAddr,
    turns: &mut Turns,
) -> Option<usize> {
    [false, true].into_iter().find_map(|backup| {
        let takes = |it: &Candidate| it.usable && it.weight > 0 && it.backup == backup;
        match algorithm {
            Algorithm::RoundRobin => turns.next(candidates, takes),
            Algorithm::LeastConnections => least(candidates, takes, turns),
            Algorithm::Source => by_source(candidates, takes, source),
        }
    })
}

impl Turns {
    fn next(
        &mut self,
        candidates: &[Candidate],
        takes: impl Fn(&Candidate) -> bool,
    ) -> Option<usize> {
        self.follow(candidates);
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (at, (candidate, (_, credit))) in candidates.iter().zip(&mut self.credit).enumerate() {
            if !takes(candidate) {
                continue;
            }
            *credit += i64::from(candidate.weight);
            total += i64::from(candidate.weight);
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((at, *credit));
            }
        }
        let (at, _) = best?;
        if let Some((_, credit)) = self.credit.get_mut(at) {
            *credit -= total;
        }
        Some(at)
    }

    /// Keeps the credit of members that are still there, in the order of `candidates`.
    fn follow(&mut self, candidates: &[Candidate]) {
        let same = self.credit.len() == candidates.len()
            && self.credit.iter().zip(candidates).all(|((serial, _), it)| *serial == it.serial);
        if same {
            return;
        }
        let of = |serial| {
            self.credit.iter().find(|(known, _)| *known == serial).map_or(0, |(_, credit)| *credit)
        };
        self.credit = candidates.iter().map(|it| (it.serial, of(it.serial))).collect();
    }
}

/// The least loaded for its weight; members of the same load take turns.
fn least(
    candidates: &[Candidate],
    takes: impl Fn(&Candidate) -> bool,
    turns: &mut Turns,
) -> Option<usize> {
    let load = |it: &Candidate| (u64::from(it.sessions) << 16) / u64::from(it.weight.max(1));
    let lowest = candidates.iter().filter(|it| takes(it)).map(load).min()?;
    turns.next(candidates, |it| takes(it) && load(it) == lowest)
}

/// The highest of each member's score for this client (weighted rendezvous hashing): a member that goes leaves all
/// other clients where they are, and one that comes takes its share and no more.
fn by_source(
    candidates: &[Candidate],
    takes: impl Fn(&Candidate) -> bool,
    source: IpAddr,
) -> Option<usize> {
    let client = match source {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let scored = candidates
        .iter()
        .enumerate()
        .filter(|(_, it)| takes(it))
        .map(|(at, it)| (at, score(client, it.serial, it.weight)));
    scored.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(at, _)| at)
}

#[allow(clippy::cast_possible_truncation)] // the two halves of the number
#[allow(clippy::cast_precision_loss)] // 53 bits of the hash are kept, which a double holds exactly
fn score(client: u128, serial: u64, weight: u32) -> f64 {
    let mixed = mix(mix(mix(client as u64) ^ ((client >> 64) as u64)) ^ serial);
    let unit = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / unit.ln()
}

/// The finalizer of SplitMix64: every bit of the input moves every bit of the output.
pub(super) const fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A number for a member's name that is the same in every process, so that a restart moves no client.
pub fn serial(rule: &str, member: &str) -> u64 {
    let bytes = rule.bytes().chain([0]).chain(member.bytes());
    // FNV-1a, then mixed since names differ in their last characters alone
    mix(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}
