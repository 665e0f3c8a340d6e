//! Forwarding: a TCP stream through a router with so many rules, with and without a flowtable, against the same two hosts
//! with plain routing between them.
//!
//! All hosts are namespaces on one machine, so the figures are of the kernel's path and not of any NIC. A flowtable needs a
//! kernel that has one: where this one has none, all is measured on a machine of the lab, which is emulated and has the
//! template's kernel, so only its ratios say something.

mod machine;
mod namespaces;
mod rules;

use anyhow::Result;

use super::Row;
use namespaces::Path;

/// How often each case is measured; the best counts.
const ROUNDS: usize = 5;
/// Rules of the router.
const SIZES: [usize; 3] = [0, 100, 10_000];

/// What the router has: so many rules, or none at all and no tracking of connections either.
#[derive(Clone, Copy, PartialEq)]
struct Case {
    rules: Option<usize>,
    flowtable: bool,
}

impl Case {
    const PLAIN: Self = Self { rules: None, flowtable: false };

    fn with(size: usize, flowtable: bool) -> Self {
        Self { rules: Some(size), flowtable }
    }

    /// What nft loads after it has taken everything away.
    fn text(self) -> Result<String> {
        self.rules.map_or(Ok(String::new()), |size| rules::text(size, self.flowtable))
    }
}

/// Gigabits in a second, by case.
struct Rates {
    place: &'static str,
    all: Vec<(Case, f64)>,
}

impl Rates {
    fn of(&self, wanted: Case) -> Option<f64> {
        self.all.iter().find(|(case, _)| *case == wanted).map(|(_, rate)| *rate)
    }

    fn rows(&self) -> Vec<Row> {
        let cases =
            [false, true].into_iter().flat_map(|flowtable| SIZES.map(|size| (size, flowtable)));
        cases.filter_map(|(size, flowtable)| self.row(size, flowtable)).collect()
    }

    fn row(&self, size: usize, flowtable: bool) -> Option<Row> {
        let (plain, empty) = (self.of(Case::PLAIN)?, self.of(Case::with(0, false))?);
        let ours = self.of(Case::with(size, flowtable))?;
        let share = ours / empty;
        let by = if flowtable { ", by a flowtable" } else { "" };
        // a budget is of a machine that is one
        let judged = size == 10_000 && !flowtable && self.place.is_empty();
        Some(Row {
            bench: "forward".to_owned(),
            case: format!(
                "TCP through {size} firewall rules{by}{}, {share:.2} x of none",
                self.place
            ),
            unit: "Gbit/s".to_owned(),
            ours,
            rival: Some(plain),
            rival_name: Some("no rules at all".to_owned()),
            ratio: Some(ours / plain),
            budget: judged.then(|| ">= 0.95 x of an empty ruleset".to_owned()),
            within: judged.then_some(share >= 0.95),
        })
    }
}

fn cases(flowtable: bool) -> Vec<Case> {
    let with = |flowtable: bool| SIZES.map(|size| Case::with(size, flowtable));
    let mut cases = vec![Case::PLAIN];
    cases.extend(with(false));
    if flowtable {
        cases.extend(with(true));
    }
    cases
}

/// Measures; needs root and nft, and the template's images where this kernel has no flowtable.
pub fn run() -> Result<Vec<Row>> {
    let path = Path::new()?;
    let flowtable = path.has_flowtables()?;
    let cases = cases(flowtable);
    let mut best = vec![0.0_f64; cases.len()];
    // in turns, so that what else the machine does is the same for all
    for _ in 0..ROUNDS {
        for (case, best) in cases.iter().zip(&mut best) {
            path.load(&case.text()?)?;
            *best = best.max(path.rate()?);
        }
    }
    let here = Rates { place: "", all: cases.into_iter().zip(best).collect() };
    let mut rows = here.rows();
    if !flowtable {
        let runtime = tokio::runtime::Runtime::new()?;
        rows.extend(runtime.block_on(machine::rates())?.rows());
    }
    Ok(rows)
}
