//! Apply of configurations with many guests: the real agent on the real kernel in a network namespace, against dnsmasq
//! with its files rewritten and restarted until it answers (and `nft -f` of the same rules, for a first configuration).
//!
//! Both are timed alike: from what is wanted, in memory, until the server answers a question for a changed name. Ours
//! has the manager's client, its TLS connection and the commit in it. Agent-side rows are the agent's own figure, from
//! the body received to the configuration committed, with rules in the kernel and DHCP and DNS in force in their
//! processes; there is nothing of the rival's to compare them with. That no service was restarted is part of the budget.
//! The ledger is in RAM: what a change writes waits for the disk of whatever machine this runs on, and of whoever else uses
//! it. What one durable write takes here is a row of its own; a change waits for three.

mod field;
mod guests;
mod rival;
mod rules;

use std::time::Duration;

use anyhow::{Result, ensure};

pub(super) use self::field::Field;
use self::guests::Guests;
use self::rival::Rival;
use super::Row;

/// Guests of a first configuration, and beside which one is changed.
const SIZES: [usize; 3] = [1, 1_000, 10_000];
/// First configurations measured of each size; each needs a router of its own.
const FIRSTS: usize = 3;
/// Single changes measured beside each number of guests.
const SINGLES: usize = 100;
/// As above, of the rival, which takes longer.
const RIVAL_SINGLES: usize = 20;
/// Guests of whom every one changes.
const ALL: usize = 2_000;
/// Changes of all guests.
const WHOLES: usize = 15;

/// Times of one kind of change.
#[derive(Default)]
pub(super) struct Times(pub(super) Vec<Duration>);

impl Times {
    /// The time that `part` of the changes did not exceed, in milliseconds.
    pub(super) fn percentile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let at = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(at.saturating_sub(1)).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }

    pub(super) fn median(&self) -> f64 {
        self.percentile(0.5)
    }
}

/// Single changes beside one number of guests.
struct Singles {
    size: usize,
    ours: Times,
    agent: Times,
    rival: Times,
}

/// Measures; needs root, dnsmasq and nft. The rules come first: they need the quietest machine.
pub fn run() -> Result<Vec<Row>> {
    let mut rows = rules::run()?;
    let mut singles = Vec::new();
    for size in SIZES {
        let (firsts, single) = of_size(size)?;
        rows.push(first_row(size, &firsts));
        singles.push(single);
    }
    rows.extend(singles.iter().flat_map(single_rows));
    rows.extend(growth(&singles));
    rows.push(whole()?);
    Ok(rows)
}

/// First configurations of `size` guests, ours and the rival's, and single changes on the last router made for them.
fn of_size(size: usize) -> Result<([Times; 2], Singles)> {
    let [mut ours, mut rivals] = [Times::default(), Times::default()];
    let [single_ours, agent, rival] = [Times::default(), Times::default(), Times::default()];
    let mut single = Singles { size, ours: single_ours, agent, rival };
    for number in 0..FIRSTS {
        let mut guests = Guests::new(size);
        let mut field = Field::new()?;
        ours.0.push(field.push(&guests, 0)?.whole);
        let mut rival = Rival::new(&field);
        let rules = rival.loads_rules(&field)?;
        rivals.0.push(rules + rival.restart(&guests, 0)?);
        if number + 1 == FIRSTS {
            let services = field.services()?;
            for change in 0..SINGLES {
                let changed = guests.change_one(change);
                let took = field.push(&guests, changed)?;
                single.ours.0.push(took.whole);
                single.agent.0.push(took.agent);
                if change < RIVAL_SINGLES {
                    single.rival.0.push(rival.restart(&guests, changed)?);
                }
            }
            ensure!(field.services()? == services, "a service was restarted");
        }
    }
    Ok(([ours, rivals], single))
}

fn first_row(size: usize, [ours, rivals]: &[Times; 2]) -> Row {
    let case = format!("first configuration, {size} guests");
    let row = row(&case, ours.median(), rivals.median(), "dnsmasq, nft -f");
    if size < 10_000 { row } else { judged(row, "<= 1 s", 1000.0) }
}

fn single_rows(single: &Singles) -> [Row; 2] {
    let case = format!("one guest changed, {} there", single.size);
    let whole = row(&case, single.ours.median(), single.rival.median(), "dnsmasq");
    let agent = Row {
        rival: None,
        rival_name: None,
        ratio: None,
        ..row(&format!("{case}: agent-side p99"), single.agent.percentile(0.99), 0.0, "")
    };
    [whole, judged(agent, "<= 50 ms", 50.0)]
}

/// What ten times as many guests do to a single change.
fn growth(singles: &[Singles]) -> Option<Row> {
    let [.., few, many] = singles else { return None };
    let times = |of: fn(&Singles) -> &Times| of(many).median() / of(few).median();
    let (ours, rivals) = (times(|single| &single.ours), times(|single| &single.rival));
    let case = format!("one guest changed: {} against {}", many.size, few.size);
    Some(Row { unit: "x".to_owned(), ..row(&case, ours, rivals, "dnsmasq") })
}

/// Every guest gets another name and another address, over and over.
fn whole() -> Result<Row> {
    let [mut ours, mut rivals] = [Times::default(), Times::default()];
    let mut guests = Guests::new(ALL);
    let mut field = Field::new()?;
    field.push(&guests, 0)?;
    let mut rival = Rival::new(&field);
    let services = field.services()?;
    for change in 0..WHOLES {
        guests.change_all();
        ours.0.push(field.push(&guests, change)?.whole);
        rivals.0.push(rival.restart(&guests, change)?);
    }
    let kept = field.services()? == services;
    let case = format!("{ALL} guests changed, DHCP and DNS in force");
    let row = row(&case, ours.median(), rivals.median(), "dnsmasq");
    let mut row = judged(row, "<= 200 ms, no service restarted", 200.0);
    row.within = row.within.map(|within| within && kept);
    Ok(row)
}

fn row(case: &str, ours: f64, rival: f64, rival_name: &str) -> Row {
    Row {
        bench: "apply".to_owned(),
        case: case.to_owned(),
        unit: "ms".to_owned(),
        ours,
        rival: Some(rival),
        rival_name: Some(rival_name.to_owned()),
        ratio: (ours > 0.0).then(|| rival / ours),
        budget: None,
        within: None,
    }
}

fn judged(row: Row, budget: &str, most: f64) -> Row {
    Row { within: Some(row.ours <= most), budget: Some(budget.to_owned()), ..row }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let times = Times((1..=100).rev().map(Duration::from_millis).collect());
        assert!((times.median() - 50.0).abs() < 1e-9);
        assert!((times.percentile(0.99) - 99.0).abs() < 1e-9);
        assert!((times.percentile(1.0) - 100.0).abs() < 1e-9);
        assert!(Times::default().median().is_nan());
    }
}
