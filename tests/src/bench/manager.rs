//! The manager: allocations beside the loop that people write by hand, a large description, and what one change costs as the
//! cloud grows.
//!
//! `SLUICE_BENCH_NETWORKS` says how far it grows: 1,100 networks or more, 10,000 unless it is given, each with ten guests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};
use sluice_manager::alloc::{Interval, Pool, PoolClass, PoolName};
use sluice_manager::store::{Location, Store, Taken, allocations};

use super::Row;
use crate::manager::Manager;
use crate::postgres::Postgres;

/// Callers at once.
const CALLERS: usize = 16;
/// How long each loop runs.
const RUN: Duration = Duration::from_secs(5);
/// Guests of each network.
const GUESTS: usize = 10;
/// Networks of one description.
const AT_ONCE: usize = 1000;
/// Networks in the small cloud.
const SMALL: usize = 100;
/// How often a change is timed.
const CHANGES: u32 = 30;

/// Says how far it is: filling a cloud takes minutes.
fn tell(begun: Instant, what: &str) {
    eprintln!("{:>6.1} s  {what}", begun.elapsed().as_secs_f64());
}

/// Measures.
pub fn run() -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut rows = runtime.block_on(pools())?;
    rows.extend(runtime.block_on(growing())?);
    Ok(rows)
}

fn row(case: &str, unit: &str, ours: f64) -> Row {
    Row {
        bench: "manager".to_owned(),
        case: case.to_owned(),
        unit: unit.to_owned(),
        ours,
        rival: None,
        rival_name: None,
        ratio: None,
        budget: None,
        within: None,
    }
}

async fn pools() -> Result<Vec<Row>> {
    let server = Postgres::start().await?;
    let rival = by_hand(&server)?;
    let ours = taken(&server.url().parse()?).await?;
    let ratio = ours / rival;
    let beside = Row {
        rival: Some(rival),
        rival_name: Some("SKIP LOCKED".to_owned()),
        ratio: Some(ratio),
        budget: Some(">= 1 x".to_owned()),
        within: Some(ratio >= 1.0),
        ..row("allocations of 16 callers, PostgreSQL", "1/s", ours)
    };
    let folder = tempfile::tempdir()?;
    let file = taken(&folder.path().join("m.db").into()).await?;
    Ok(vec![beside, row("allocations of 16 callers, a file", "1/s", file)])
}

/// Allocations a second: each a change of its own, which begins and ends as a request's does.
async fn taken(location: &Location) -> Result<f64> {
    let store = Store::open(location).await?;
    let (begun, count) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let callers = (0..CALLERS).map(|caller| {
        let (store, count) = (store.clone(), Arc::clone(&count));
        tokio::spawn(async move {
            let name = PoolName::of_cloud(PoolClass::Control);
            let pool = Pool::new(Interval::new(1, 1_000_000));
            while begun.elapsed() < RUN {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let owner = format!("o-{caller}-{number}");
                let taken =
                    Taken { owner: &owner, purpose: "bench", appliance: None, request: None };
                let mut transaction = store.join().await?;
                let found = allocations::take_any(&mut transaction, &name, &pool, taken).await?;
                found.context("the pool is exhausted")?;
                transaction.commit().await?;
            }
            Ok::<_, anyhow::Error>(())
        })
    });
    for caller in futures_util::future::join_all(callers).await {
        caller??;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    store.close().await;
    Ok(rate)
}

/// The rival: a table of free items, and the loop that everybody writes around it. Its client is written in C.
fn by_hand(server: &Postgres) -> Result<f64> {
    let setup = "CREATE TABLE pool (id BIGINT PRIMARY KEY, taken BOOLEAN NOT NULL);\n\
                 INSERT INTO pool SELECT n, false FROM generate_series(1, 1000000) n;\n\
                 CREATE INDEX pool_free ON pool (id) WHERE NOT taken;\n\
                 ANALYZE pool;\n";
    let take = "BEGIN;\n\
                SELECT id FROM pool WHERE NOT taken ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED \\gset\n\
                UPDATE pool SET taken = true WHERE id = :id;\n\
                COMMIT;\n";
    pgbench(server, setup, &["-t", "1", "-c", "1"])?;
    let (seconds, callers) = (RUN.as_secs().to_string(), CALLERS.to_string());
    let told = pgbench(server, take, &["-T", &seconds, "-c", &callers, "-j", "2"])?;
    let rate = told.split("tps = ").nth(1).and_then(|text| text.split(' ').next());
    rate.context("pgbench says no rate")?.parse().context("pgbench's rate")
}

fn pgbench(server: &Postgres, script: &str, words: &[&str]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("script.sql");
    fs::write(&file, script)?;
    let output = sluice_programs::command("pgbench")?
        .args(["-n", "-f"])
        .arg(&file)
        .args(words)
        .arg(server.url())
        .output()?;
    if !output.status.success() {
        bail!("pgbench: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn networks() -> usize {
    let asked = env::var("SLUICE_BENCH_NETWORKS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(10_000).max(SMALL + AT_ONCE)
}

/// Networks `first` to `last` of one zone, with their guests.
fn description(first: usize, last: usize) -> Value {
    let name = |number: usize| format!("net{number}");
    let network = |number: usize| {
        json!({ "zone": "zone1", "name": name(number), "domain": "d.internal", "egress": "deny",
                "physical_network": format!("physnet{}", number / 4000) })
    };
    let guest = |number: usize, guest: usize| json!({ "network": name(number), "name": format!("vm{guest}") });
    let physical = |number: usize| json!({ "zone": "zone1", "name": format!("physnet{number}"), "vlans": ["1-4094"] });
    json!({
        "zones": [{ "name": "zone1", "resolvers": ["192.0.2.53"], "control_cidr": "100.64.0.0/16" }],
        "physical_networks": (0..3).map(physical).collect::<Vec<_>>(),
        "public_ranges": [{ "zone": "zone1", "name": "public1", "physical_network": "physnet0",
            "gateway": "198.18.0.1", "prefix": 15, "start": "198.18.1.0", "end": "198.19.255.0" }],
        "networks": (first..last).map(network).collect::<Vec<_>>(),
        "guests": (first..last).flat_map(|n| (0..GUESTS).map(move |g| guest(n, g))).collect::<Vec<_>>(),
    })
}

fn apply(manager: &Manager, folder: &Path, first: usize, last: usize) -> Result<Duration> {
    let file = folder.join("cloud.toml");
    fs::write(&file, toml::to_string(&description(first, last))?)?;
    let begun = Instant::now();
    manager.done(["apply", file.to_str().context("a path")?, "--yes"])?;
    Ok(begun.elapsed())
}

/// The same by one call that says nothing beforehand: a cloud is filled, and nobody waits for it.
async fn fill(
    manager: &Manager,
    http: &reqwest::Client,
    (first, last): (usize, usize),
) -> Result<()> {
    let call = http.post(format!("{}/v1/cloud", manager.url()));
    timed(call.json(&description(first, last)), 200).await.map(drop)
}

/// The longest that a change waited while networks `first` to `last` were made, and how long that took: it is one
/// transaction, and one more before it that only says what would change.
fn apply_beside_changes(
    manager: &Manager,
    http: &reqwest::Client,
    folder: &Path,
    (first, last): (usize, usize),
) -> Result<(Duration, Duration)> {
    let runtime = tokio::runtime::Handle::current();
    thread::scope(|threads| {
        let applying = threads.spawn(|| apply(manager, folder, first, last));
        let mut longest = Duration::ZERO;
        for egress in ["allow", "deny"].into_iter().cycle() {
            if applying.is_finished() {
                break;
            }
            longest = longest.max(runtime.block_on(set_egress(manager, http, egress))?);
        }
        let took = applying.join().map_err(|_| anyhow!("the description was not applied"))?;
        Ok((longest, took?))
    })
}

/// A change that can be made for ever.
async fn set_egress(manager: &Manager, http: &reqwest::Client, egress: &str) -> Result<Duration> {
    let call = http.patch(format!("{}/v1/networks/net8", manager.url()));
    timed(call.json(&json!({ "egress": egress })), 200).await
}

async fn timed(call: reqwest::RequestBuilder, status: u16) -> Result<Duration> {
    let begun = Instant::now();
    let answer = call.bearer_auth(crate::manager::TOKEN).send().await?;
    if answer.status() != status {
        bail!("{}", answer.text().await?);
    }
    Ok(begun.elapsed())
}

/// Milliseconds of one change: half of them take at most that.
async fn change(manager: &Manager, http: &reqwest::Client, round: &str) -> Result<f64> {
    let mut times = Vec::new();
    for number in 0..CHANGES {
        let took = guest(manager, http, &format!("x{round}{number}")).await?;
        times.push(took.as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().context("no change was timed")
}

/// One change: a guest of a network that has few.
async fn guest(manager: &Manager, http: &reqwest::Client, name: &str) -> Result<Duration> {
    let call = http.post(format!("{}/v1/guests", manager.url()));
    timed(call.json(&json!({ "network": "net7", "name": name })), 201).await
}

async fn growing() -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let quiet = ["--certificate-hours", "100"];
    let manager = Manager::start(folder.path(), "127.0.0.1:0".parse()?, &quiet).await?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let begun = Instant::now();
    apply(&manager, folder.path(), 0, SMALL)?;
    tell(begun, "a small cloud");
    let small = change(&manager, &http, "a").await?;
    let at_once = (SMALL, SMALL + AT_ONCE);
    let beside = || apply_beside_changes(&manager, &http, folder.path(), at_once);
    let (longest, whole) = tokio::task::block_in_place(beside)?;
    tell(begun, "a large description");
    for first in (at_once.1..networks()).step_by(AT_ONCE) {
        let last = (first + AT_ONCE).min(networks());
        fill(&manager, &http, (first, last)).await?;
        tell(begun, &format!("{last} networks"));
    }
    let large = change(&manager, &http, "b").await?;
    let memory = memory(&manager)?;
    manager.kill();
    let ratio = small / large;
    let growth = Row {
        rival: Some(small),
        rival_name: Some("at 100".to_owned()),
        ratio: Some(ratio),
        budget: Some("< 2 x of at 100".to_owned()),
        within: Some(large < 2.0 * small),
        ..row(&format!("one change at {} networks", networks()), "ms", large)
    };
    let each = format!("a description of {AT_ONCE} networks");
    Ok(vec![
        row(&each, "s", whole.as_secs_f64()),
        row("longest wait of a change meanwhile", "s", longest.as_secs_f64()),
        growth,
        row(&format!("memory at {} networks", networks()), "MiB", memory),
    ])
}

fn memory(manager: &Manager) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", manager.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 =
        line.and_then(|line| line.split_whitespace().next()).context("VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}
