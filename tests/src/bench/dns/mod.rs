//! DNS against dnsmasq and unbound: 10,000 local names and cache hits, each server alone on one core, dnsperf on another.
//!
//! Where dnsperf is the limit, queries a second say nothing of the server; so the budget is judged on queries per second of
//! the server's own processor time, and the plain rate stands beside it. Rounds alternate between the servers, and the best
//! round of each counts, as whatever else the machine does only ever makes a round worse.

mod load;
mod servers;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use self::load::Load;
use self::servers::{Kind, Server};
use super::Row;

/// Local names served.
const LOCAL_NAMES: usize = 10_000;
/// Foreign names kept in the caches.
const CACHED_NAMES: usize = 1_000;
/// Rounds per server and case.
const ROUNDS: usize = 5;
/// Length of a round.
const ROUND: Duration = Duration::from_secs(2);
const BUDGET: &str = ">= 1.2 x the better of dnsmasq and unbound per core";
const LOST_BUDGET: &str = "< 0.1 % lost";

/// What was measured of one server.
struct Figures {
    kind: Kind,
    per_second: f64,
    per_cpu_second: f64,
    lost_percent: f64,
}

/// Measures; needs dnsperf, dnsmasq, unbound and taskset, and no rights.
pub fn run() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir().context("cannot make a folder for the servers' files")?;
    let upstream = Server::upstream(folder.path(), CACHED_NAMES)?;
    let kinds = [Kind::Sluice, Kind::Dnsmasq, Kind::Unbound];
    let servers = kinds
        .iter()
        .map(|kind| Server::start(*kind, folder.path(), LOCAL_NAMES, &upstream))
        .collect::<Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    for (case, names) in [("10,000 local names", local_names()), ("cache hits", cached_names())] {
        let figures = measure(folder.path(), &servers, &names)?;
        rows.extend(rows_of(case, &figures));
    }
    Ok(rows)
}

fn local_names() -> Vec<String> {
    (0..LOCAL_NAMES).map(servers::local_name).collect()
}

fn cached_names() -> Vec<String> {
    (0..CACHED_NAMES).map(servers::cached_name).collect()
}

fn measure(folder: &Path, servers: &[Server], names: &[String]) -> Result<Vec<Figures>> {
    let load = Load::new(folder, names)?;
    let mut figures = Vec::new();
    for server in servers {
        load.once(server).with_context(|| format!("{:?} does not know its names", server.kind))?;
        figures.push(Figures {
            kind: server.kind,
            per_second: 0.0,
            per_cpu_second: 0.0,
            lost_percent: 0.0,
        });
    }
    for _ in 0..ROUNDS {
        for (server, figures) in servers.iter().zip(&mut figures) {
            let sample = load.round(server, ROUND)?;
            figures.lost_percent = figures.lost_percent.max(sample.lost_percent());
            figures.per_second = figures.per_second.max(sample.per_second());
            figures.per_cpu_second = figures.per_cpu_second.max(sample.per_cpu_second());
        }
    }
    Ok(figures)
}

fn rows_of(case: &str, figures: &[Figures]) -> Vec<Row> {
    let Some((ours, rivals)) = figures.split_first() else { return Vec::new() };
    let best = |of: fn(&Figures) -> f64| rivals.iter().max_by(|a, b| of(a).total_cmp(&of(b)));
    let mut rows = Vec::new();
    if let Some(rival) = best(|it| it.per_second) {
        let (ours, theirs) = (ours.per_second, rival.per_second);
        rows.push(row(&format!("{case}: answered"), "q/s", ours, theirs, rival.kind));
    }
    if let Some(rival) = best(|it| it.per_cpu_second) {
        let (ours, theirs) = (ours.per_cpu_second, rival.per_cpu_second);
        let mut row = row(&format!("{case}: per core"), "q/cpu-s", ours, theirs, rival.kind);
        row.within = row.ratio.map(|ratio| ratio >= 1.2);
        row.budget = Some(BUDGET.to_owned());
        rows.push(row);
    }
    if let Some(rival) = rivals.first() {
        let mut row =
            row(&format!("{case}: lost"), "%", ours.lost_percent, rival.lost_percent, rival.kind);
        row.ratio = None;
        row.within = Some(ours.lost_percent < 0.1);
        row.budget = Some(LOST_BUDGET.to_owned());
        rows.push(row);
    }
    rows
}

fn row(case: &str, unit: &str, ours: f64, rival: f64, kind: Kind) -> Row {
    Row {
        bench: "dns".to_owned(),
        case: case.to_owned(),
        unit: unit.to_owned(),
        ours,
        rival: Some(rival),
        rival_name: Some(kind.name().to_owned()),
        ratio: (rival > 0.0).then(|| ours / rival),
        budget: None,
        within: None,
    }
}
