//! What the appliance counts, in OpenMetrics text.
//!
//! Guarantees: made anew from the status at each request, so metrics and status never disagree; names and labels are
//! stable (they are an interface). Not here: history, which is the collector's business.

mod balancing;
mod uplinks;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sluice_api::report::{
    Answer, Phase, PortUse, ServiceState, ServiceStatus, StatusReport, UsageReport, Used, Volume,
};
use sluice_sys::process::resident_memory;

/// Content type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the agent counts besides its status, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Configurations brought into force and verified.
    pub applied: u64,
    /// Configurations refused before anything was touched.
    pub rejected: u64,
    /// Configurations that failed while being applied.
    pub failed: u64,
    /// Returns to the last good configuration, after a failure or for want of a confirmation.
    pub rollbacks: u64,
    /// Repairs of foreign changes that succeeded.
    pub repairs: u64,
    /// Repairs that failed.
    pub failed_repairs: u64,
    /// How long the last apply took, in microseconds.
    pub last_apply_us: u64,
    /// Connections tracked and how many may be, when last looked at.
    pub tracked: Option<(u32, u32)>,
}

impl Totals {
    /// Counts the answer to a push.
    pub(crate) fn count(&mut self, answer: &Answer) {
        match answer {
            Answer::Applied { timing, .. } => {
                self.applied += 1;
                self.last_apply_us = timing.total_us;
            }
            Answer::Rejected { .. } => self.rejected += 1,
            Answer::Failed { .. } => self.failed += 1,
            Answer::Already { .. }
            | Answer::Stale { .. }
            | Answer::Changed { .. }
            | Answer::Busy(_)
            | Answer::MissingBlobs { .. }
            | Answer::Unknown => {}
        }
    }

    /// Counts a repair.
    pub(crate) fn count_repair(&mut self, worked: bool) {
        if worked { self.repairs += 1 } else { self.failed_repairs += 1 }
    }
}

/// Status and counters as OpenMetrics text.
pub fn text(status: StatusReport, totals: Totals, usage: UsageReport) -> String {
    let mut registry = Registry::with_prefix("sluice");
    registry.register_collector(Box::new(Snapshot { status, totals, usage }));
    let mut text = String::new();
    // writing to a String cannot fail
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Snapshot {
    status: StatusReport,
    totals: Totals,
    usage: UsageReport,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.agent(&mut encoder)?;
        self.counters(&mut encoder)?;
        self.services(&mut encoder)?;
        self.service_counters(&mut encoder)?;
        used(&mut encoder, "address", &self.usage.addresses)?;
        used(&mut encoder, "network", &self.usage.networks)?;
        used(&mut encoder, "forward", &self.usage.forwards)?;
        self.rules(&mut encoder)?;
        self.tracking(&mut encoder)?;
        self.source_ports(&mut encoder)?;
        self.balancing(&mut encoder)?;
        self.uplinks(&mut encoder)
    }
}

impl Snapshot {
    fn rules(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let rules = &self.usage.rules;
        let labels: Vec<_> = rules.iter().map(|it| [("rule", it.rule.as_str())]).collect();
        let packets: Vec<_> =
            labels.iter().zip(rules).map(|(label, it)| (label, it.judged.packets)).collect();
        family(encoder, Kind::Counter, "rule_packets", "Packets that a rule judged", &packets)?;
        let bytes: Vec<_> =
            labels.iter().zip(rules).map(|(label, it)| (label, it.judged.bytes)).collect();
        family(encoder, Kind::Counter, "rule_bytes", "Bytes of those packets", &bytes)
    }

    fn tracking(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(tracking) = &self.usage.tracking else { return Ok(()) };
        let (entries, limit) = (tracking.entries.into(), tracking.limit.into());
        gauge(encoder, "tracked_connections", "Connections that are tracked", entries)?;
        gauge(encoder, "tracked_connections_limit", "Connections that may be tracked", limit)?;
        let lost = [
            (&[("reason", "insert-failed")], tracking.insert_failed),
            (&[("reason", "table-full")], tracking.dropped),
            (&[("reason", "early-dropped")], tracking.early_dropped),
        ];
        let help = "Packets and connections that tracking lost";
        family(encoder, Kind::Counter, "tracking_losses", help, &lost)
    }

    fn source_ports(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let pools = &self.usage.source_ports;
        let words: Vec<_> = pools
            .iter()
            .map(|pool| {
                (pool.address.to_string(), pool.protocol.to_string(), pool.destination.to_string())
            })
            .collect();
        let ports: Vec<String> = pools.iter().map(|pool| pool.port.to_string()).collect();
        let labels: Vec<_> = words
            .iter()
            .zip(&ports)
            .map(|((address, protocol, destination), port)| {
                [
                    ("address", address.as_str()),
                    ("protocol", protocol.as_str()),
                    ("destination", destination.as_str()),
                    ("port", port.as_str()),
                ]
            })
            .collect();
        let series = |value: fn(&PortUse) -> u32| {
            labels.iter().zip(pools).map(|(label, pool)| (label, value(pool).into())).collect()
        };
        let used: Vec<_> = series(|pool| pool.used);
        let help = "Source ports in use towards a destination, of the fullest pools";
        family(encoder, Kind::Gauge, "source_ports_used", help, &used)?;
        let range: Vec<_> = series(|pool| pool.range);
        family(encoder, Kind::Gauge, "source_ports", "Source ports that there are", &range)
    }

    fn agent(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let status = &self.status;
        let generation = status.current.as_ref().map_or(0, |current| current.generation.get());
        let in_force = matches!(status.phase, Phase::InForce | Phase::AwaitingConfirm);
        gauge(encoder, "generation", "Committed configuration, 0 before the first", generation)?;
        gauge(encoder, "in_force", "1 while a configuration is in force", u64::from(in_force))?;
        gauge(encoder, "alarms", "Things that a person must look at", count(status.alarms.len()))?;
        gauge(encoder, "uptime_seconds", "Since the agent started", status.uptime_seconds)?;
        let help = "How long the last apply took";
        gauge(encoder, "last_apply_microseconds", help, self.totals.last_apply_us)?;
        let (own, programs) = sluice_sys::process::peaks();
        let peaks = [(&[("process", "agent")], own), (&[("process", "programs")], programs)];
        let help =
            "Most memory of the agent so far, and of the largest program that it ran to its end";
        family(encoder, Kind::Gauge, "peak_memory_bytes", help, &peaks)?;
        let help = "Connections tracked, and how many may be";
        let tracked = self.totals.tracked.map_or([0, 0], |(now, most)| [now.into(), most.into()]);
        let tracked = [(&[("count", "now")], tracked[0]), (&[("count", "most")], tracked[1])];
        family(encoder, Kind::Gauge, "connections_tracked", help, &tracked)
    }

    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Totals { applied, rejected, failed, rollbacks, repairs, failed_repairs, .. } =
            self.totals;
        let applies = [
            (&[("result", "applied")], applied),
            (&[("result", "rejected")], rejected),
            (&[("result", "failed")], failed),
        ];
        family(encoder, Kind::Counter, "applies", "Pushed configurations by result", &applies)?;
        let help = "Returns to the last good configuration";
        family(encoder, Kind::Counter, "rollbacks", help, &[(&[], rollbacks)])?;
        let repairs = [(&[("result", "ok")], repairs), (&[("result", "failed")], failed_repairs)];
        family(encoder, Kind::Counter, "drift_repairs", "Foreign changes put right", &repairs)
    }

    fn services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = &self.status.services;
        let labels: Vec<_> = services.iter().map(|s| [("service", s.name.as_str())]).collect();
        let series = |value: fn(&ServiceStatus) -> u64| {
            labels.iter().zip(services).map(|(label, s)| (label, value(s))).collect::<Vec<_>>()
        };
        let up = series(|s| u64::from(s.state == ServiceState::Running));
        family(encoder, Kind::Gauge, "service_up", "1 while the service serves", &up)?;
        let restarts = series(|s| s.restarts);
        family(encoder, Kind::Counter, "service_restarts", "Restarts after a crash", &restarts)?;
        // of what has just ended there is none
        let resident = |service: &ServiceStatus| service.pid.and_then(resident_memory);
        let memory = labels.iter().zip(services);
        let memory: Vec<_> = memory.filter_map(|(label, s)| Some((label, resident(s)?))).collect();
        family(encoder, Kind::Gauge, "service_memory_bytes", "Resident memory", &memory)
    }

    fn service_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let labels = self.status.services.iter().flat_map(|service| {
            service.counters.iter().map(|(counter, value)| {
                ([("service", service.name.as_str()), ("counter", counter.as_str())], *value)
            })
        });
        let labels: Vec<_> = labels.collect();
        let series: Vec<_> = labels.iter().map(|(label, value)| (label, *value)).collect();
        family(encoder, Kind::Counter, "service_events", "What each service counts", &series)
    }
}

/// What things of one kind received and sent.
fn used(encoder: &mut DescriptorEncoder<'_>, kind: &'static str, all: &[Used]) -> fmt::Result {
    let ways = all.iter().flat_map(|it| {
        let label = |way| [(kind, it.name.as_str()), ("direction", way)];
        [(label("received"), it.received), (label("sent"), it.sent)]
    });
    let ways: Vec<_> = ways.collect();
    let series = |value: fn(&Volume) -> u64| {
        ways.iter().map(|(label, volume)| (label, value(volume))).collect::<Vec<_>>()
    };
    let (bytes, packets) = (format!("{kind}_bytes"), format!("{kind}_packets"));
    let help = "IP bytes received and sent";
    family(encoder, Kind::Counter, &bytes, help, &series(|volume| volume.bytes))?;
    let help = "Packets received and sent";
    family(encoder, Kind::Counter, &packets, help, &series(|volume| volume.packets))
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    family(encoder, Kind::Gauge, name, help, &[(&[], value)])
}

/// One metric with a value for each set of labels; without any it is left out.
fn family<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    kind: Kind,
    name: &str,
    help: &str,
    series: &[(&[(&str, &str); N], u64)],
) -> fmt::Result
where
    for<'a> [(&'a str, &'a str); N]: EncodeLabelSet,
{
    if series.is_empty() {
        return Ok(());
    }
    let metric = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let mut encoder = encoder.encode_descriptor(name, help, None, metric)?;
    for (labels, value) in series {
        // an empty set would be written as `{}`, which not every collector takes
        if N == 0 {
            return sample(encoder, kind, *value);
        }
        sample(encoder.encode_family(*labels)?, kind, *value)?;
    }
    Ok(())
}

fn sample(encoder: MetricEncoder<'_>, kind: Kind, value: u64) -> fmt::Result {
    match kind {
        Kind::Counter => ConstCounter::new(value).encode(encoder),
        Kind::Gauge => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder),
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
