//! What the agent makes of the server's report.

use std::collections::BTreeMap;

use serde::Deserialize;
use sluice_api::report::ServiceStatus;
use sluice_api::types::ObjectId;

/// The part of the report that is read here.
#[derive(Default, Deserialize)]
struct Report {
    #[serde(default)]
    unusable: BTreeMap<ObjectId, String>,
}

/// What a person must look at: guests that wait for a password which they will not get. Of the service called `name`.
pub fn alarms(name: &str, services: &[ServiceStatus]) -> Vec<String> {
    let service = services.iter().find(|service| service.name == name);
    let report = service.and_then(|service| Report::deserialize(service.report.as_ref()?).ok());
    let told = |(guest, reason): (ObjectId, String)| {
        format!("the password of guest {guest} cannot be handed out: {reason}")
    };
    report.unwrap_or_default().unusable.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(report: &Value) -> Vec<ServiceStatus> {
        let status = json!({
            "name": "password", "state": "running", "pid": 7, "generation": 3, "restarts": 0,
            "last_exit": null, "counters": {}, "report": report,
        });
        vec![serde_json::from_value(status).unwrap()]
    }

    #[test]
    fn a_guest_that_waits_in_vain_is_named() {
        let said = told(&json!({ "over": {}, "unusable": { "vm1-0": "must not be empty" } }));
        assert_eq!(
            alarms("password", &said),
            ["the password of guest vm1-0 cannot be handed out: must not be empty"]
        );
        assert!(alarms("other", &said).is_empty());
        for nothing in [json!({ "over": {}, "missing": [] }), json!(null), json!("?")] {
            assert!(alarms("password", &told(&nothing)).is_empty(), "{nothing}");
        }
    }
}
