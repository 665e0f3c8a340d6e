//! What the appliance counts, in OpenMetrics text.
//!
//! Guarantees: made anew from the status at each request, so metrics and status never disagree; names and labels are
//! stable (they are an interface). Not here: history, which is the collector's business.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sluice_api::report::{Answer, Phase, ServiceState, ServiceStatus, StatusReport};

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
pub fn text(status: StatusReport, totals: Totals) -> String {
    let mut registry = Registry::with_prefix("sluice");
    registry.register_collector(Box::new(Snapshot { status, totals }));
    let mut text = String::new();
    // writing to a String cannot fail
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Snapshot {
    status: StatusReport,
    totals: Totals,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.agent(&mut encoder)?;
        self.counters(&mut encoder)?;
        self.services(&mut encoder)?;
        self.service_counters(&mut encoder)
    }
}

impl Snapshot {
    fn agent(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let status = &self.status;
        let generation = status.current.as_ref().map_or(0, |current| current.generation.get());
        let in_force = matches!(status.phase, Phase::InForce | Phase::AwaitingConfirm);
        gauge(encoder, "generation", "Committed configuration, 0 before the first", generation)?;
        gauge(encoder, "in_force", "1 while a configuration is in force", u64::from(in_force))?;
        gauge(encoder, "alarms", "Things that a person must look at", count(status.alarms.len()))?;
        gauge(encoder, "uptime_seconds", "Since the agent started", status.uptime_seconds)?;
        let help = "How long the last apply took";
        gauge(encoder, "last_apply_microseconds", help, self.totals.last_apply_us)
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
        family(encoder, Kind::Counter, "service_restarts", "Restarts after a crash", &restarts)
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
