//! One port forward changed beside thousands: what a rule costs, verify included, and what an idle router does.
//!
//! The agent's own figures, from the body received to the configuration committed; of what it and the largest program that
//! it runs (nft) need of memory, the peak.

use std::time::{Duration, Instant};

use anyhow::Result;
use sluice_api::RouterDocument;
use sluice_api::config::{ForwardProtocol, PortForward, PublicAddress};
use sluice_api::types::{InterfaceAddress, PortRange};

use super::field::Field;
use super::{Times, judged, row};
use crate::bench::Row;

/// Forwards beside which one is changed, the budget in milliseconds, and changes measured.
const SIZES: [(usize, f64, usize); 2] = [(10_000, 50.0, 100), (100_000, 150.0, 40)];
/// How long an idle router is watched.
const WATCHED: Duration = Duration::from_secs(30);
/// How long it has to come to rest after a change.
const REST: Duration = Duration::from_secs(5);
/// Ports of one public address.
const PORTS: usize = 60_000;

/// Between two changes: the agent looks at live connections after each, beside whatever comes next.
const BREATH: Duration = Duration::from_millis(100);
/// Durable writes of which the median is told.
const WRITES: usize = 50;

/// Measures; needs root and nft. What is measured is told at once: a later part may fail.
pub(super) fn run() -> Result<Vec<Row>> {
    let mut rows = vec![disk()?];
    for size in SIZES {
        let measured = beside(size)?;
        for row in &measured {
            eprintln!("{row}");
        }
        rows.extend(measured);
    }
    Ok(rows)
}

/// What a page of the ledger would wait for on this machine's disk.
fn disk() -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let mut times = Times::default();
    for _ in 0..WRITES {
        let start = Instant::now();
        sluice_sys::files::replace(folder.path(), "page", &[0; 1024])?;
        times.0.push(start.elapsed());
    }
    Ok(plain("a durable write on this machine's disk", times.median(), "ms"))
}

fn beside((size, budget, changes): (usize, f64, usize)) -> Result<Vec<Row>> {
    let mut field = Field::new()?;
    let first = field.change(|config| forwards(config, size))?;
    let mut times = Times::default();
    let before = field.processor()?;
    for change in 0..changes {
        times.0.push(field.change(|config| move_one(config, change))?);
        std::thread::sleep(BREATH);
    }
    #[allow(clippy::cast_precision_loss)] // some dozens
    let each = (field.processor()? - before) / changes as f64 * 1e3;
    let (agent, nft) = field.peaks()?;
    // of which the kernel and the services want some too
    let memory = if size > 10_000 { 512.0 } else { 128.0 };
    let mut rows = vec![
        plain(
            &format!("{size} port forwards onto an empty router"),
            first.as_secs_f64() * 1e3,
            "ms",
        ),
        judged(
            plain(
                &format!("one port forward changed, {size} there: p99"),
                times.percentile(0.99),
                "ms",
            ),
            &format!("<= {budget} ms, verify included"),
            budget,
        ),
        plain(&format!("the same, median, {size} there"), times.median(), "ms"),
        plain(&format!("the same, processor time of agent and nft, {size} there"), each, "ms"),
        plain(&format!("agent's peak memory, {size} there"), agent, "MiB"),
        plain(&format!("nft's peak memory, {size} there"), nft, "MiB"),
        judged(
            plain(&format!("both together, {size} there"), agent + nft, "MiB"),
            &format!("within {memory} MiB"),
            memory,
        ),
    ];
    std::thread::sleep(REST);
    let (start, before) = (Instant::now(), field.processor()?);
    std::thread::sleep(WATCHED);
    let used = (field.processor()? - before) / start.elapsed().as_secs_f64() * 100.0;
    let idle = plain(&format!("idle router, {size} there"), used, "% of a core");
    rows.push(judged(idle, "< 1 % of a core", 1.0));
    Ok(rows)
}

fn plain(case: &str, ours: f64, unit: &str) -> Row {
    let row = row(case, ours, 0.0, "");
    Row { unit: unit.to_owned(), rival: None, rival_name: None, ratio: None, ..row }
}

/// Gives the configuration so many forwards, on as many public addresses as that takes.
fn forwards(config: &mut RouterDocument, count: usize) {
    let Some(link) = config.links.iter_mut().find(|link| link.name.as_str() == "pub0") else {
        return;
    };
    let name = link.name.clone();
    let network = config.role.networks.first().map(|network| network.id.clone());
    let Some(network) = network else { return };
    for number in 0..count.div_ceil(PORTS) {
        let host = u8::try_from(11 + number).unwrap_or(11);
        let address = std::net::Ipv4Addr::new(198, 51, 100, host);
        link.addresses.extend(format!("{address}/24").parse::<InterfaceAddress>().ok());
        let id = format!("ip-{number}").parse();
        let public = id.map(|id| PublicAddress { id, address, link: name.clone() });
        config.role.public_addresses.extend(public.ok());
    }
    let each = (0..count).filter_map(|number| {
        let host = u8::try_from(11 + number / PORTS).ok()?;
        let port = 1024 + number % PORTS;
        Some(PortForward {
            id: format!("pf-{number}").parse().ok()?,
            public: std::net::Ipv4Addr::new(198, 51, 100, host),
            protocol: ForwardProtocol::Tcp,
            ports: port.to_string().parse::<PortRange>().ok()?,
            network: network.clone(),
            guest: std::net::Ipv4Addr::new(10, 1, 16, 23),
            guest_port: u64::try_from(port).ok()?.try_into().ok(),
            sources: Vec::new(),
            until: None,
        })
    });
    config.role.port_forwards = each.collect();
}

/// One forward leads to another port from now on.
fn move_one(config: &mut RouterDocument, change: usize) {
    let count = config.role.port_forwards.len().max(1);
    let at = change * 7919 % count;
    if let Some(forward) = config.role.port_forwards.get_mut(at) {
        forward.guest_port = u64::try_from(change + 1).ok().and_then(|port| port.try_into().ok());
    }
}

/// What is measured is what is meant: a forward that was not made would make all of it cheaper.
#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_configuration_has_as_many_forwards_as_are_asked_for_and_is_sound() -> Result<()> {
        let mut config = crate::faults::example();
        forwards(&mut config, 10_000);
        let network = config.role.networks.first_mut().context("a network")?;
        network.cidr = "10.1.0.0/16".parse()?;
        assert_eq!(config.role.port_forwards.len(), 10_000);
        let before = config.role.port_forwards.clone();
        move_one(&mut config, 7);
        let changed = before.iter().zip(&config.role.port_forwards).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 1);
        Ok(())
    }
}
