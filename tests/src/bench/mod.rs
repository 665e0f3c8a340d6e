//! Benchmarks: ours and the rival's from one run, as a ratio.

pub mod apply;
pub mod boot;
pub mod console;
pub mod dhcp;
pub mod dns;
pub mod forward;
pub mod lb;
pub mod manager;
pub mod metadata;
pub mod rules;
pub mod storage;
pub mod vpn;

use std::fmt;

use anyhow::Result;
use serde::Serialize;

/// One measured case; `cargo xtask bench --json` prints one of these a line.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the benchmark, such as `dhcp`.
    pub bench: String,
    /// What was measured.
    pub case: String,
    /// Unit of `ours` and `rival`.
    pub unit: String,
    /// Our figure.
    pub ours: f64,
    /// The rival's figure from the same run.
    pub rival: Option<f64>,
    /// Who the rival is.
    pub rival_name: Option<String>,
    /// Ours against the rival's; greater than 1 means ours is better, whatever the unit.
    pub ratio: Option<f64>,
    /// The budget in words, from design section 10.
    pub budget: Option<String>,
    /// Whether the budget holds; `None` where there is none.
    pub within: Option<bool>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bench, case, unit, ours, .. } = self;
        write!(f, "{bench:<7}{case:<44}{ours:>12.1} {unit:<10}")?;
        if let (Some(rival), Some(name), Some(ratio)) = (self.rival, &self.rival_name, self.ratio) {
            write!(f, "{name:>10} {rival:>12.1}  ratio {ratio:>5.2}")?;
        }
        match (self.within, &self.budget) {
            (Some(true), Some(budget)) => write!(f, "  within: {budget}"),
            (Some(false), Some(budget)) => write!(f, "  MISSED: {budget}"),
            _ => Ok(()),
        }
    }
}

/// A benchmark by name.
pub struct Entry {
    /// What `cargo xtask bench NAME` calls it.
    pub name: &'static str,
    /// What it measures, for a person.
    pub what: &'static str,
    /// Measures.
    pub run: fn() -> Result<Vec<Row>>,
}

/// All benchmarks, in the order in which they run.
pub fn all() -> Vec<Entry> {
    vec![
        Entry { name: "apply", what: "configurations of 10,000 guests", run: apply::run },
        Entry { name: "boot", what: "first configuration against the bare kernel", run: boot::run },
        Entry { name: "console", what: "screens against websockify", run: console::run },
        Entry { name: "dhcp", what: "exchanges against Kea and dnsmasq", run: dhcp::run },
        Entry { name: "dns", what: "queries against dnsmasq and unbound", run: dns::run },
        Entry {
            name: "forward",
            what: "a stream through packet rules against plain routing",
            run: forward::run,
        },
        Entry { name: "lb", what: "connections and requests against HAProxy", run: lb::run },
        Entry { name: "rules", what: "packet rules against iptables-nft", run: rules::run },
        Entry {
            name: "manager",
            what: "allocations against SKIP LOCKED, and a growing cloud",
            run: manager::run,
        },
        Entry {
            name: "metadata",
            what: "requests against nginx, memory of the services",
            run: metadata::run,
        },
        Entry {
            name: "storage",
            what: "imports against curl, zstd and qemu-img",
            run: storage::run,
        },
        Entry {
            name: "vpn",
            what: "tunnels against forwarding and the daemons alone",
            run: vpn::run,
        },
    ]
}
