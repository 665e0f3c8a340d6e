//! What a console proxy reports of its sessions, kept: who was on which console, and how busy the proxy is.
//!
//! Guarantees: who comes and who leaves is written at the look that first tells of it; bytes of sessions that run at most a
//! minute late, so that a quiet store stays quiet.

use std::time::{Duration, Instant};

use sluice_api::boot::Role;
use sluice_api::report::StatusReport;
use tracing::warn;

use super::task::Task;
use crate::error::Error;
use crate::store::consoles::{self, Report};

/// The console service of a proxy.
pub(super) const SERVICE: &str = "console";
/// Longest time between two writes while anybody is there.
const LATE: Duration = Duration::from_mins(1);

/// What was written last.
#[derive(Debug, Default)]
pub(super) struct Noted {
    report: Report,
    at: Option<Instant>,
    /// It was other than the one before: a rate that has come down to nothing is still to be written.
    moving: bool,
}

impl Noted {
    /// Whether `report` is to be written now.
    fn is_due(&self, report: &Report, now: Instant) -> bool {
        let Some(at) = self.at else { return true };
        let changed = *report != self.report || self.moving;
        changed && now.saturating_duration_since(at) >= LATE || report.news() != self.report.news()
    }
}

impl Task {
    /// Keeps what the console service of a proxy says of itself.
    pub(super) async fn note_consoles(&mut self, status: &StatusReport) -> Result<(), Error> {
        let console = status.services.iter().find(|service| service.name == SERVICE);
        let Some(report) = console.and_then(|service| service.report.clone()) else {
            return Ok(());
        };
        if status.role != Role::Proxy {
            return Ok(());
        }
        let report: Report = match serde_json::from_value(report) {
            Ok(report) => report,
            Err(error) => {
                warn!(appliance = %self.id, %error, "report of consoles not understood");
                return Ok(());
            }
        };
        let now = Instant::now();
        if self.consoles.is_due(&report, now) {
            let mut transaction = self.watch.store().begin().await?;
            consoles::note(&mut transaction, self.id.as_str(), &report, self.looked).await?;
            transaction.commit().await?;
            let moving = report != self.consoles.report;
            self.consoles = Noted { report, at: Some(now), moving };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(sessions: &[u64], bytes: u64) -> Report {
        let session = |id: &u64| {
            serde_json::json!({ "id": id, "grant": "g", "vm": "v", "user": null, "from": "::1", "since": 1,
                "to_browser": bytes, "from_browser": 0 })
        };
        let sessions: Vec<_> = sessions.iter().map(session).collect();
        let load = serde_json::json!({ "sessions": sessions.len(), "most": 500 });
        serde_json::from_value(serde_json::json!({ "sessions": sessions, "load": load })).unwrap()
    }

    #[test]
    fn who_comes_and_goes_is_written_at_once_and_bytes_by_and_by() {
        let at = Instant::now();
        let noted = Noted { report: report(&[1], 5), at: Some(at), moving: false };
        assert!(Noted::default().is_due(&report(&[], 0), at));
        assert!(!noted.is_due(&report(&[1], 5), at + LATE), "nothing is new");
        assert!(!noted.is_due(&report(&[1], 9), at), "bytes");
        assert!(noted.is_due(&report(&[1], 9), at + LATE));
        assert!(noted.is_due(&report(&[1, 2], 5), at) && noted.is_due(&report(&[], 5), at));
        let moving = Noted { moving: true, ..noted };
        assert!(moving.is_due(&report(&[1], 5), at + LATE), "it no longer moves");
    }
}
