//! What the engine says of itself; kept beside it so that asking never waits for an apply.

use sluice_api::report::{Phase, Reported, Reverted, StatusReport};

use super::Engine;
use crate::appliance::{Appliance, Configuration};
use crate::ledger::Entry;

/// What every appliance of this build can do beyond the first version of the contract.
const COMMON: [&str; 3] = ["blobs", "gzip", "service-reports"];

/// The present time, RFC 3339 in UTC.
pub(super) fn now() -> String {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::now_utc().format(format).unwrap_or_default()
}

fn reported<C>(entry: &Entry<C>) -> Reported {
    Reported { generation: entry.generation(), digest: entry.digest().clone() }
}

/// What was undone, with how often in a row, given what was undone `before`.
pub(super) fn reverted<C>(entry: &Entry<C>, before: Option<&Reverted>) -> Reverted {
    let (generation, digest) = (entry.generation(), entry.digest().clone());
    let again = before.filter(|before| before.is(generation, &digest));
    let times = again.map_or(0, |before| before.times).saturating_add(1);
    Reverted { generation, digest, times }
}

impl<A: Appliance> Engine<A> {
    fn phase(&self) -> Phase {
        let state = self.ledger.state();
        if self.degraded {
            Phase::Degraded
        } else if state.pending.is_some() && self.deadline.is_some() {
            Phase::AwaitingConfirm
        } else if state.pending.is_some() {
            Phase::Applying
        } else if !self.ill.is_empty() {
            Phase::Degraded
        } else if state.committed.is_some() {
            Phase::InForce
        } else {
            Phase::Unconfigured
        }
    }

    /// Makes the present state what [`super::Handle::status`] tells.
    pub(super) fn publish(&self) {
        let state = self.ledger.state();
        let mut report = self.shared.report();
        report.phase = self.phase();
        report.current = state.committed.as_ref().map(reported);
        report.pending = state.pending.as_ref().map(reported);
        report.subsystems.clone_from(&self.subsystems);
        report.repairs.clone_from(&self.repairs);
        report.alarms = self.alarms.texts();
        report.alarms.extend(self.appliance.alarms(&self.services.status()));
        report.missing_blobs.clone_from(&self.missing);
    }

    /// The report before anything happened.
    pub(super) fn blank(appliance: &A, boot: &sluice_api::boot::BootDocument) -> StatusReport {
        let mut capabilities: Vec<_> =
            COMMON.into_iter().chain(appliance.capabilities()).map(str::to_owned).collect();
        capabilities.sort_unstable();
        StatusReport {
            appliance: boot.appliance.clone(),
            role: A::ROLE,
            firmware: env!("CARGO_PKG_VERSION").to_owned(),
            build: option_env!("SLUICE_BUILD").map(str::to_owned),
            contract_versions: A::Config::VERSIONS.to_vec(),
            capabilities,
            uptime_seconds: 0,
            incarnation: boot.incarnation,
            phase: Phase::Unconfigured,
            current: None,
            pending: None,
            reverted: None,
            subsystems: Vec::new(),
            services: Vec::new(),
            repairs: Vec::new(),
            alarms: Vec::new(),
            missing_blobs: Vec::new(),
        }
    }
}
