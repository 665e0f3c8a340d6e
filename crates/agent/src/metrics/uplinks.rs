//! A router's uplinks, out of the report of the service that watches them.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use serde::Deserialize as _;
use sluice_api::report::uplinks::{Report, SERVICE, UplinkReport};

use super::{Kind, Snapshot, family};

impl Snapshot {
    pub(super) fn uplinks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = self.status.services.iter();
        let mut reports =
            services.filter(|it| it.name == SERVICE).filter_map(|it| it.report.as_ref());
        let Some(Ok(report)) = reports.next().map(Report::deserialize) else { return Ok(()) };
        let mut tell = |kind, name, help, of: &dyn Fn(&UplinkReport) -> Option<u64>| {
            let each = report.uplinks.iter();
            let each = each.filter_map(|up| Some(([("link", up.link.as_str())], of(up)?)));
            let each: Vec<_> = each.collect();
            let series: Vec<_> = each.iter().map(|(labels, value)| (labels, *value)).collect();
            family(encoder, kind, name, help, &series)
        };
        // what is not known yet is left out
        tell(Kind::Gauge, "uplink_up", "1 while the uplink is up", &|it| it.up.map(u64::from))?;
        let help = "How often the uplink went down or came up again";
        tell(Kind::Counter, "uplink_changes", help, &|it| Some(it.changes))?;
        let help = "Probes that were answered";
        tell(Kind::Counter, "uplink_probes_answered", help, &|it| Some(it.answered))?;
        let help = "Probes that were not answered";
        tell(Kind::Counter, "uplink_probes_failed", help, &|it| Some(it.failed))
    }
}
