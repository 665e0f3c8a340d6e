//! Packet rules: the real agent on the real kernel in a network namespace, against iptables-nft.
//!
//! Ours is timed by the agent, from the body received to the configuration committed and verified; the rival by the
//! process that loads the same rules. A rule is added beside so many others, and so many are loaded onto nothing.

#![allow(clippy::indexing_slicing)] // fields of documents that are made here

mod rival;

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluice_api::RouterDocument;

use self::rival::Rival;
use super::Row;
use super::apply::{Field, Times};

/// Rules of a router that gets one more; the second is what one request can carry.
const BESIDE: [usize; 2] = [10_000, 100_000];
/// Rules added one by one.
const SINGLES: usize = 50;
/// As above, by the rival, whose every one reads all of them.
const RIVAL_SINGLES: usize = 5;
/// Mixed rules onto an empty router.
const COLD: usize = 10_000;
/// First configurations; each needs a router of its own.
const FIRSTS: usize = 3;
/// Between two changes.
const BREATH: Duration = Duration::from_millis(100);
/// Public addresses that the rules are about.
const ADDRESSES: usize = 100;

fn public(number: usize) -> String {
    format!("198.51.100.{}", 11 + number % ADDRESSES)
}

fn guest(number: usize) -> String {
    format!("10.1.{}.{}", 1 + number / 200 % 200, 10 + number % 200)
}

/// A configuration with `count` rules: forwards, static NAT, firewall and egress rules.
fn mixed(config: &RouterDocument, count: usize) -> Result<RouterDocument> {
    let mut document = json!(config);
    let addresses: Vec<String> = (0..ADDRESSES).map(public).collect();
    let links = document.get_mut("links").and_then(Value::as_array_mut);
    for link in links.into_iter().flatten().filter(|link| link["name"] == "pub0") {
        if let Some(list) = link.get_mut("addresses").and_then(Value::as_array_mut) {
            list.extend(addresses.iter().map(|address| json!(format!("{address}/24"))));
        }
    }
    let each = addresses.iter().enumerate();
    let router = &mut document["role"]["router"];
    router["public_addresses"] = each
        .map(|(n, address)| json!({ "id": format!("ip-{n}"), "address": address, "link": "pub0" }))
        .collect();
    // half of the addresses stand for a guest each, the others have forwards
    let statics = (ADDRESSES / 2).min(count);
    router["static_nat"] = (0..statics)
        .map(|n| json!({ "id": format!("sn-{n}"), "public": public(2 * n), "network": "net-1", "guest": guest(n) }))
        .collect();
    let left = count - statics;
    // a forward takes twice the bytes of another rule, and a request has at most eight megabytes
    let forwards = (left / 3).min(5_000);
    router["port_forwards"] = (0..forwards)
        .map(|n| {
            json!({ "id": format!("pf-{n}"), "public": public(2 * n + 1), "protocol": "tcp",
                    "ports": (1000 + n / (ADDRESSES / 2)).to_string(), "network": "net-1",
                    "guest": guest(n), "guest_port": 80 })
        })
        .collect();
    let egress = (left - forwards) / 2;
    router["egress_rules"] = (0..egress)
        .map(|n| json!({ "id": format!("eg-{n}"), "network": "net-1", "traffic": { "udp": { "ports": (1 + n).to_string() } } }))
        .collect();
    router["firewall"] = (0..left - forwards - egress).map(firewall).collect();
    RouterDocument::decode(document.to_string().as_bytes())
        .map(|(config, _)| config)
        .map_err(|findings| anyhow::anyhow!("{:?}", findings.first()))
}

fn firewall(number: usize) -> Value {
    let ports = (1 + number / ADDRESSES).to_string();
    json!({ "id": format!("fw-{number}"), "public": public(number), "traffic": { "tcp": { "ports": ports } } })
}

/// Measures; needs root, nft and iptables-nft.
pub fn run() -> Result<Vec<Row>> {
    let mut rows = vec![cold()?];
    for count in BESIDE {
        rows.extend(beside(count)?);
    }
    Ok(rows)
}

fn cold() -> Result<Row> {
    let [mut ours, mut rivals] = [Times::default(), Times::default()];
    for _ in 0..FIRSTS {
        let mut field = Field::new()?;
        let rival = Rival::new(&field)?;
        let config = mixed(field.config(), COLD)?;
        ours.0.push(field.replace(config)?);
        rivals.0.push(rival.load(COLD)?);
    }
    let case = format!("{COLD} mixed rules onto an empty router");
    Ok(judged(row(&case, ours.median(), Some(rivals.median())), "<= 1 s, one transaction", 1000.0))
}

fn beside(count: usize) -> Result<[Row; 2]> {
    let mut field = Field::new()?;
    let config = mixed(field.config(), count)?;
    field.replace(config)?;
    let mut agent = Times::default();
    for number in 0..SINGLES {
        let mut config = field.config().clone();
        let rule = firewall(5_000_000 + number);
        let mut rule: sluice_api::config::FirewallRule = serde_json::from_value(json!({
            "id": rule["id"], "public": rule["public"], "traffic": { "udp": { "ports": (1 + number).to_string() } }
        }))?;
        rule.sources = vec!["192.0.2.0/24".parse()?];
        config.role.firewall.push(rule);
        agent.0.push(field.replace(config)?);
        // the agent looks at live connections after each, beside whatever comes next
        std::thread::sleep(BREATH);
    }
    let rival = Rival::new(&field)?;
    rival.load(count)?;
    let mut rivals = Times::default();
    for number in 0..RIVAL_SINGLES {
        rivals.0.push(rival.add(number)?);
    }
    let case = format!("one rule added beside {count}: agent-side p99");
    let most = if count > 10_000 { 150.0 } else { 50.0 };
    let budget = format!("<= {most} ms, verify included");
    let single = judged(row(&case, agent.percentile(0.99), Some(rivals.median())), &budget, most);
    let peak = field.peak_kib()?;
    ensure!(peak > 0, "the agent has no memory");
    #[allow(clippy::cast_precision_loss)] // of megabytes
    let peak = peak as f64 / 1024.0;
    let most = if count > 10_000 { 512.0 } else { 128.0 };
    let case = format!("peak memory of the agent with {count} rules");
    let memory = Row { unit: "MiB".to_owned(), ..row(&case, peak, None) };
    Ok([single, judged(memory, &format!("fits into {most} MiB"), most)])
}

fn row(case: &str, ours: f64, rival: Option<f64>) -> Row {
    Row {
        bench: "rules".to_owned(),
        case: case.to_owned(),
        unit: "ms".to_owned(),
        ours,
        rival,
        rival_name: rival.map(|_| "iptables-nft".to_owned()),
        ratio: rival.map(|rival| rival / ours),
        budget: None,
        within: None,
    }
}

fn judged(row: Row, budget: &str, most: f64) -> Row {
    Row { within: Some(row.ours <= most), budget: Some(budget.to_owned()), ..row }
}

/// Longest that the rival takes for anything.
const PATIENCE: Duration = Duration::from_mins(5);
