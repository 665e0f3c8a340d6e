//! perfdhcp: the trade's own load, and what it reports.

use std::time::Duration;

use anyhow::{Context, Result};

use super::field::{Field, RELAY, SERVER};

/// What a run reported.
#[derive(Debug, PartialEq)]
pub(super) struct Report {
    /// Exchanges completed per second.
    pub(super) rate: f64,
    /// Discovers sent.
    sent: f64,
    /// Exchanges completed.
    pub(super) completed: f64,
}

impl Report {
    /// Part of the exchanges that did not complete.
    pub(super) fn lost(&self) -> f64 {
        1.0 - self.completed / self.sent
    }
}

/// Offers `rate` exchanges a second for `span`, from the second core.
pub(super) fn run(field: &Field, rate: f64, span: Duration) -> Result<Report> {
    let macs = field.path("macs").display().to_string();
    let line = format!(
        "taskset -c 1 perfdhcp -4 -g single -l {RELAY} -M {macs} -r {rate:.0} -p {} -W 200000 {SERVER}",
        span.as_secs()
    );
    let bound = span + Duration::from_secs(20);
    // it ends with a code other than 0 when something was lost
    let output = field.load.sh(&line).timeout(bound).run()?;
    parse(&output.stdout).with_context(|| format!("{}{}", output.stdout, output.stderr))
}

fn parse(text: &str) -> Option<Report> {
    let rate = text.split("Rate: ").nth(1)?.split(' ').next()?.parse().ok()?;
    let count = |section: &str, name: &str| -> Option<f64> {
        let section = text.split(section).nth(1)?;
        section.split(name).nth(1)?.lines().next()?.trim().parse().ok()
    };
    Some(Report {
        rate,
        sent: count("DISCOVER-OFFER", "sent packets:")?,
        completed: count("REQUEST-ACK", "received packets:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = "Rate: 934.022 4-way exchanges/second, expected rate: 2000\n\
            ***Statistics for: DISCOVER-OFFER***\nsent packets: 5999\nreceived packets: 3062\n\
            ***Statistics for: REQUEST-ACK***\nsent packets: 3062\nreceived packets: 2803\n";
        let report = parse(text).unwrap();
        assert_eq!(report, Report { rate: 934.022, sent: 5999.0, completed: 2803.0 });
        assert!((report.lost() - 0.5327).abs() < 0.001);
        assert_eq!(parse("perfdhcp: no such address"), None);
    }
}
