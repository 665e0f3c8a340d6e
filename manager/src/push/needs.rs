//! Whether an appliance has what a configuration needs of it: one of an earlier build is told so by the feature's name, before
//! it is sent what it cannot read or, worse, would do half of.

use std::collections::BTreeSet;

use sluice_api::ApplianceConfig;
use sluice_api::report::StatusReport;

/// What `document` needs and the appliance lacks, as a sentence; none when it lacks nothing. One that cannot be read needs
/// nothing that is known.
pub(super) fn lacking(document: &str, status: &StatusReport) -> Option<String> {
    let config: ApplianceConfig = serde_json::from_str(document).ok()?;
    let has: BTreeSet<&str> = status.capabilities.iter().map(String::as_str).collect();
    let lacks: Vec<&str> = config.needs().into_iter().filter(|word| !has.contains(word)).collect();
    (!lacks.is_empty()).then(|| {
        format!(
            "generation {} needs {}, which firmware {} of the appliance does not have: upgrade it",
            config.generation,
            lacks.join(", "),
            status.firmware
        )
    })
}
