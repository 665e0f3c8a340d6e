//! DHCP four-way exchanges: ours against Kea and dnsmasq, on one core each, in one run.
//!
//! Each server has the same 10,000 reservations and is pinned to one core; the load is pinned to the other. perfdhcp finds
//! the highest rate with at most 2.5 % lost; because perfdhcp itself takes more time per exchange than our server, the
//! server's CPU time per exchange is measured too, and overload comes from an own generator ([`load`]), while the server
//! has only a fifth of its core ([`crowd`]).

mod crowd;
mod field;
mod load;
mod perfdhcp;
mod servers;

use std::time::Duration;

use anyhow::{Context, Result};

use super::Row;
use crowd::Crowd;
use field::Field;
use load::Load;
use servers::{Kind, Running};

/// Part of the exchanges that may be lost at the rate that counts as held.
const TOLERATED: f64 = 0.025;
/// How long each rate is tried.
const TRIAL: Duration = Duration::from_secs(2);

/// How many times the rate it holds is more than a server can do.
const OVERLOAD: f64 = 3.0;
/// A rate is tried so often before it counts as not held: one stall of a shared machine must not decide.
const TRIES: u32 = 2;

/// The highest rate held under one kind of load.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Exchanges per second.
    rate: f64,
    /// The server's CPU time per exchange at that rate, microseconds.
    micros: f64,
}

impl Held {
    /// Part of its core that the server used.
    fn busy(self) -> f64 {
        self.rate * self.micros / 1e6
    }
}

/// What one server did.
#[derive(Debug)]
struct Measured {
    kind: Kind,
    perfdhcp: Held,
    load: Held,
    /// The same with a fifth of the core.
    crowded: Held,
    /// Exchanges completed per second when three times the rate held with a fifth of the core is to be offered.
    overloaded: f64,
    /// How many times that rate the load did offer.
    offered: f64,
    /// Replies per second of the server's CPU time at that overload, offers and acks together.
    replies: f64,
}

impl Measured {
    /// Part of the rate held that is still done when three times as much is offered.
    fn kept(&self) -> f64 {
        self.overloaded / self.crowded.rate
    }
}

/// What one trial of a rate gave.
struct Trial {
    lost: f64,
    /// Part of the rate asked for that the load could offer.
    offered: f64,
    held: Held,
}

/// Measures all three.
pub fn run() -> Result<Vec<Row>> {
    let field = Field::new()?;
    let measured = [Kind::Ours, Kind::Kea, Kind::Dnsmasq]
        .into_iter()
        .map(|kind| measure(&field, kind).with_context(|| format!("measure {}", kind.name())))
        .collect::<Result<Vec<_>>>()?;
    let [ours, rivals @ ..] = measured.as_slice() else { anyhow::bail!("nothing was measured") };
    Ok(rivals.iter().flat_map(|rival| rows(ours, rival)).chain(overload(ours)).collect())
}

fn measure(field: &Field, kind: Kind) -> Result<Measured> {
    let server = Running::start(field, kind)?;
    let perfdhcp = climb(500.0, |rate| under_perfdhcp(field, &server, rate))?;
    let load = climb(1000.0, |rate| under_load(field, &server, rate))?;
    let _crowd = Crowd::new()?;
    let crowded = climb(100.0, |rate| under_load(field, &server, rate))?;
    let before = server.cpu()?;
    let flood = Load { rate: crowded.rate * OVERLOAD, span: TRIAL }.run(field)?;
    let spent = server.cpu()?.saturating_sub(before).as_secs_f64();
    let replies = flood.replies() * TRIAL.as_secs_f64() / spent;
    let offered = flood.offered() / crowded.rate;
    let overloaded = flood.exchanges();
    let measured = Measured { kind, perfdhcp, load, crowded, overloaded, offered, replies };
    eprintln!("{measured:?}");
    Ok(measured)
}

/// The highest rate that is held, to within 5 %; rates grow by half until one is not.
fn climb(start: f64, mut trial: impl FnMut(f64) -> Result<Trial>) -> Result<Held> {
    let mut holds = |rate: f64| -> Result<Option<Held>> {
        for _ in 0..TRIES {
            let trial = trial(rate)?;
            if trial.lost <= TOLERATED && trial.offered >= 0.9 {
                return Ok(Some(trial.held));
            }
        }
        Ok(None)
    };
    let (mut best, mut good, mut bad) = (Held::default(), 0.0, start);
    while let Some(held) = holds(bad)? {
        (best, good) = (held, bad);
        bad *= 1.5;
    }
    while bad / f64::max(good, start / 20.0) > 1.05 {
        let middle = f64::midpoint(good, bad);
        match holds(middle)? {
            Some(held) => (best, good) = (held, middle),
            None => bad = middle,
        }
    }
    Ok(best)
}

fn under_perfdhcp(field: &Field, server: &Running, rate: f64) -> Result<Trial> {
    let before = server.cpu()?;
    let report = perfdhcp::run(field, rate, TRIAL)?;
    let spent = server.cpu()?.saturating_sub(before);
    let micros = spent.as_secs_f64() * 1e6 / report.completed;
    let held = Held { rate: report.rate, micros };
    Ok(Trial { lost: report.lost(), offered: report.rate / rate, held })
}

fn under_load(field: &Field, server: &Running, rate: f64) -> Result<Trial> {
    let before = server.cpu()?;
    let flood = Load { rate, span: TRIAL }.run(field)?;
    let spent = server.cpu()?.saturating_sub(before);
    let micros = spent.as_secs_f64() * 1e6 / (flood.exchanges() * TRIAL.as_secs_f64());
    let held = Held { rate: flood.exchanges(), micros };
    Ok(Trial { lost: flood.lost(), offered: flood.offered() / rate, held })
}

fn rows(ours: &Measured, rival: &Measured) -> Vec<Row> {
    let row = |case: &str, unit: &str, our: f64, their: f64, ratio: f64, judged: bool| {
        let budget = (judged && rival.kind == Kind::Kea).then_some(">= 3 x Kea");
        Row {
            bench: "dhcp".to_owned(),
            case: case.to_owned(),
            unit: unit.to_owned(),
            ours: our,
            rival: Some(their),
            rival_name: Some(rival.kind.name().to_owned()),
            ratio: Some(ratio),
            budget: budget.map(str::to_owned),
            within: budget.map(|_| ratio >= 3.0),
        }
    };
    let more = |case: &str, our: f64, their: f64, judged| {
        row(case, "1/s", our, their, our / their, judged)
    };
    let less = |case: &str, our: f64, their: f64| row(case, "us", our, their, their / our, true);
    // a server that idles is not what limits the rate: then its CPU time is compared (design, section 10)
    let limited = ours.perfdhcp.busy() > 0.7;
    vec![
        more("exchanges held under perfdhcp", ours.perfdhcp.rate, rival.perfdhcp.rate, limited),
        less("CPU time per exchange under perfdhcp", ours.perfdhcp.micros, rival.perfdhcp.micros),
        more("exchanges held under own load", ours.load.rate, rival.load.rate, true),
        less("CPU time per exchange under own load", ours.load.micros, rival.load.micros),
        more(
            "exchanges held with a fifth of the core",
            ours.crowded.rate,
            rival.crowded.rate,
            false,
        ),
        more("exchanges done at 3 x that rate", ours.overloaded, rival.overloaded, false),
        row(
            "part of that rate kept then",
            "part",
            ours.kept(),
            rival.kept(),
            ours.kept() / rival.kept(),
            false,
        ),
        more("replies per CPU second then", ours.replies, rival.replies, false),
    ]
}

/// A server that takes messages in order and answers requests like discovers completes 63 % of its best at three times its
/// best: of C messages a second, a part f of the 1.5 C discovers is served, and f again of the requests that follow. The budget
/// is more, 80 %, which takes serving in batches.
///
/// Where the load cannot offer that much, because it needs more time per exchange than the server, nothing is judged.
fn overload(ours: &Measured) -> Vec<Row> {
    let row = |case: &str, unit: &str, value: f64, budget: &str, within: Option<bool>| Row {
        bench: "dhcp".to_owned(),
        case: case.to_owned(),
        unit: unit.to_owned(),
        ours: value,
        rival: None,
        rival_name: None,
        ratio: None,
        budget: Some(budget.to_owned()),
        within,
    };
    let kept = ours.kept();
    let judged = (ours.offered >= 2.5).then_some(kept >= 0.8);
    let fast = Some(ours.replies > 50_000.0);
    vec![
        row("overload: times the held rate that was offered", "x", ours.offered, "3 x", None),
        row("overload: part of the held rate kept", "part", kept, "no collapse: >= 0.8", judged),
        row("overload: replies per CPU second", "1/s", ours.replies, "> 50,000", fast),
    ]
}
