//! Load balancing against HAProxy: each alone on one core with one thread, clients and servers on another.
//!
//! The load generator is the limit, so the budget is judged per second of the balancer's own processor time. Rounds
//! alternate between the two, and the best round of each counts, as whatever else the machine does only ever makes a round
//! worse. Memory is what idle connections add to a process. Where a process may have too few open files for as many
//! connections as the budget is for, and this program may not raise that limit, several processes of each balancer hold them
//! together, which the row says; nothing is judged where eight are too few.

mod balancers;
mod idle;
mod load;
mod origin;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use self::balancers::{Balancer, Kind};
use self::idle::Idle;
use self::load::Load;
use self::origin::Origin;
use super::Row;

/// Rounds per balancer and case.
const ROUNDS: usize = 5;
/// Length of a round.
const ROUND: Duration = Duration::from_millis(1500);
/// Connections that do nothing.
const IDLE: u64 = 20_000;
/// Environment variable: so many instead, and nothing else is measured.
const IDLE_ALONE: &str = "SLUICE_LB_IDLE";

/// One measured thing.
struct Case {
    name: &'static str,
    unit: &'static str,
    least: f64,
    budget: &'static str,
    run: fn(&Load, &Balancer, Duration) -> Result<f64>,
}

const CASES: [Case; 5] = [
    Case {
        name: "tcp bulk",
        unit: "MB/cpu-s",
        least: 1.2,
        budget: ">= 1.2 x HAProxy per core",
        run: Load::tcp_bulk,
    },
    Case {
        name: "tcp new connections",
        unit: "1/cpu-s",
        least: 1.0,
        budget: ">= 1 x HAProxy per core",
        run: Load::connections,
    },
    Case {
        name: "http requests",
        unit: "1/cpu-s",
        least: 1.0,
        budget: ">= 1 x HAProxy per core",
        run: Load::requests,
    },
    Case {
        name: "tls handshakes",
        unit: "1/cpu-s",
        least: 0.9,
        budget: ">= 0.9 x HAProxy per core",
        run: Load::handshakes,
    },
    Case {
        name: "tls bulk",
        unit: "MB/cpu-s",
        least: 0.9,
        budget: ">= 0.9 x HAProxy per core",
        run: Load::tls_bulk,
    },
];

/// Measures; needs haproxy, openssl, python3 and taskset, and no rights.
pub fn run() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir().context("cannot make a folder for the balancers' files")?;
    if let Some(number) = std::env::var_os(IDLE_ALONE) {
        let number = number.to_str().and_then(|number| number.parse().ok());
        return idle(folder.path(), number.with_context(|| format!("{IDLE_ALONE} is a number"))?);
    }
    let origin = Origin::start()?;
    let load = Load::new()?;
    let ours = Balancer::start(Kind::Sluice, folder.path(), &origin)?;
    let rival = Balancer::start(Kind::Haproxy, folder.path(), &origin)?;
    let mut rows = Vec::new();
    for case in &CASES {
        rows.push(measure(case, &load, &ours, &rival)?);
    }
    drop((ours, rival));
    rows.extend(idle(folder.path(), IDLE)?);
    Ok(rows)
}

/// Memory of connections that do nothing.
fn idle(folder: &Path, wanted: u64) -> Result<Vec<Row>> {
    let idle = Idle::of(wanted)?;
    let mut rows = Vec::new();
    for (mode, http) in [("tcp", false), ("http", true)] {
        let of = |kind| idle.bytes(kind, folder, http);
        let (ours, rival) = (of(Kind::Sluice)?, of(Kind::Haproxy)?);
        let mut row = row(&idle.case(mode), "bytes", ours, rival);
        row.ratio = (ours > 0.0).then(|| rival / ours);
        row.within = (idle.number == IDLE).then_some(ours <= rival);
        row.budget = Some(format!("<= HAProxy with {IDLE}"));
        rows.push(row);
    }
    Ok(rows)
}

fn measure(case: &Case, load: &Load, ours: &Balancer, rival: &Balancer) -> Result<Row> {
    let mut best = [0.0_f64; 2];
    for _ in 0..ROUNDS {
        for (balancer, best) in [ours, rival].into_iter().zip(&mut best) {
            let before = balancer.cpu()?;
            let done = (case.run)(load, balancer, ROUND)
                .with_context(|| format!("{} with {}", case.name, balancer.kind.name()))?;
            let cpu = balancer.cpu()?.saturating_sub(before).as_secs_f64();
            *best = best.max(if cpu > 0.0 { done / cpu } else { 0.0 });
        }
    }
    let [ours, rival] = best;
    let mut row = row(&format!("{}: per core", case.name), case.unit, ours, rival);
    row.within = row.ratio.map(|ratio| ratio >= case.least);
    row.budget = Some(case.budget.to_owned());
    Ok(row)
}

fn row(case: &str, unit: &str, ours: f64, rival: f64) -> Row {
    Row {
        bench: "lb".to_owned(),
        case: case.to_owned(),
        unit: unit.to_owned(),
        ours,
        rival: Some(rival),
        rival_name: Some(Kind::Haproxy.name().to_owned()),
        ratio: (rival > 0.0).then(|| ours / rival),
        budget: None,
        within: None,
    }
}
