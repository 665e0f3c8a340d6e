//! Consoles against websockify: busy screens through each proxy, and idle ones through ours.
//!
//! The same scripted VNC server and the same viewers, in one thread on one core; the proxy alone on another. The delay of a
//! picture is from its first byte written by the server to its last byte read by the viewer; what viewers without any
//! proxy see in the same run is taken off. Processor time is that of the proxy and its children.

mod proxies;
mod source;
mod viewer;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use self::proxies::{Kind, Proxy};
use self::source::{Source, Traffic};
use self::viewer::Viewer;
use super::Row;

/// Sessions with a moving picture.
const BUSY: usize = 50;
/// Sessions in which nothing happens.
const IDLE: usize = 500;
/// How long each case is watched.
const SPAN: Duration = Duration::from_secs(8);
/// Bytes of one picture: a part of a screen, compressed.
const PICTURE: usize = 24 * 1024;
/// Time between two pictures of a session.
const EVERY: Duration = Duration::from_millis(100);

const DELAY_BUDGET: &str = "< 2 ms added delay";
const IDLE_BUDGET: &str = "500 idle < 1 % of a core";
const MEMORY_BUDGET: &str = "500 idle < 64 MiB";

/// Measures; needs websockify and taskset.
pub fn run() -> Result<Vec<Row>> {
    let mut core = CpuSet::new();
    core.set(1)?;
    sched_setaffinity(Pid::from_raw(0), &core).context("needs a second core for the load")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut rows = busy().await?;
        rows.extend(idle().await?);
        Ok(rows)
    })
}

/// What was measured of one way from the server to the viewers.
struct Figures {
    /// Delays in milliseconds, sorted.
    delays: Vec<f64>,
    /// Processor seconds of the proxy for each 1000 pictures.
    cost: f64,
}

impl Figures {
    fn percentile(&self, percent: usize) -> f64 {
        let at = self.delays.len() * percent / 100;
        self.delays.get(at.min(self.delays.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

async fn busy() -> Result<Vec<Row>> {
    let source = Source::start(Traffic::Pictures { length: PICTURE, every: EVERY }).await?;
    let direct = measure(&source, None).await?;
    let ours = measure(&source, Some(Kind::Sluice)).await?;
    let rival = measure(&source, Some(Kind::Websockify)).await?;
    let case = |what: &str| format!("{BUSY} busy: {what}");
    let mut rows = Vec::new();
    for percent in [50, 99] {
        let added = |figures: &Figures| figures.percentile(percent) - direct.percentile(percent);
        let mut row =
            row(&case(&format!("added delay, {percent} %")), "ms", added(&ours), added(&rival));
        row.budget = Some(DELAY_BUDGET.to_owned());
        row.within = Some(added(&ours) < 2.0);
        rows.push(row);
    }
    rows.push(row(&case("processor time"), "ms/1000", ours.cost * 1e3, rival.cost * 1e3));
    Ok(rows)
}

/// `BUSY` viewers for `SPAN` through `kind`, or without any proxy.
async fn measure(source: &Source, kind: Option<Kind>) -> Result<Figures> {
    let proxy = kind.map(|kind| Proxy::start(kind, source.address)).transpose()?;
    let mut tasks = Vec::new();
    for _ in 0..BUSY {
        let viewer = match &proxy {
            Some(proxy) => Viewer::through(proxy).await?,
            None => Viewer::direct(source.address).await?,
        };
        tasks.push(viewer);
    }
    let before = cpu(proxy.as_ref())?;
    let until = Instant::now() + SPAN;
    let watching: Vec<_> =
        tasks.into_iter().map(|viewer| tokio::spawn(viewer.watch(PICTURE, until))).collect();
    let mut delays = Vec::new();
    for task in watching {
        delays.extend(task.await??);
    }
    let spent = cpu(proxy.as_ref())?.saturating_sub(before).as_secs_f64();
    anyhow::ensure!(delays.len() > BUSY * 10, "only {} pictures arrived", delays.len());
    delays.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss)] // thousands of pictures
    let cost = spent * 1000.0 / delays.len() as f64;
    Ok(Figures { delays, cost })
}

fn cpu(proxy: Option<&Proxy>) -> Result<Duration> {
    proxy.map_or(Ok(Duration::ZERO), Proxy::cpu)
}

async fn idle() -> Result<Vec<Row>> {
    let source = Source::start(Traffic::Nothing).await?;
    let proxy = Proxy::start(Kind::Sluice, source.address)?;
    let mut viewers = Vec::new();
    for _ in 0..IDLE {
        let viewer = Viewer::through(&proxy).await?;
        // answers pings, as a browser does
        viewers.push(tokio::spawn(viewer.watch(PICTURE, Instant::now() + SPAN * 10)));
    }
    let before = proxy.cpu()?;
    tokio::time::sleep(SPAN).await;
    let percent = (proxy.cpu()?.saturating_sub(before)).as_secs_f64() / SPAN.as_secs_f64() * 100.0;
    let memory = proxy.memory_mib()?;
    for viewer in viewers {
        anyhow::ensure!(!viewer.is_finished(), "an idle session ended");
        viewer.abort();
    }
    let budgeted = |case: &str, unit: &str, ours: f64, most: f64, budget: &str| Row {
        budget: Some(budget.to_owned()),
        within: Some(ours < most),
        rival: None,
        rival_name: None,
        ratio: None,
        ..row(case, unit, ours, f64::NAN)
    };
    Ok(vec![
        budgeted("500 idle: processor", "%", percent, 1.0, IDLE_BUDGET),
        budgeted("500 idle: memory", "MiB", memory, 64.0, MEMORY_BUDGET),
    ])
}

/// Less is better.
fn row(case: &str, unit: &str, ours: f64, rival: f64) -> Row {
    Row {
        bench: "console".to_owned(),
        case: case.to_owned(),
        unit: unit.to_owned(),
        ours,
        rival: Some(rival),
        rival_name: Some("websockify".to_owned()),
        ratio: Some(rival / ours),
        budget: None,
        within: None,
    }
}
