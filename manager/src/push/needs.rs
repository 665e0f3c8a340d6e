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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The example's configuration, with a copy that is laid out in a way and one that comes from another appliance.
    fn document() -> String {
        let text = std::fs::read_to_string("../examples/ssvm.json").unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        let digest = format!("sha256:{}", "a".repeat(64));
        let peer = json!({ "gift": "im-9", "address": "10.4.0.21:8443", "identity": digest });
        let place = |id: u64| json!({ "template": { "account": 1, "id": id, "name": "web" } });
        let object = json!({ "store": "nfs1", "place": place(1) });
        let jobs = config["role"]["ssvm"]["jobs"].as_array_mut().unwrap();
        for (id, source) in [(101, json!({ "peer": peer })), (102, json!({ "object": object }))] {
            jobs.push(json!({ "id": format!("im-{id}"), "what": { "import": { "source": source,
                "store": "nfs1", "place": place(id), "format": "vhd", "layout": "dynamic" } } }));
        }
        config.to_string()
    }

    fn status(capabilities: &[&str]) -> StatusReport {
        serde_json::from_value(json!({
            "appliance": "s-1", "role": "ssvm", "firmware": "0.9", "uptime_seconds": 1, "phase": "in-force",
            "current": null, "pending": null, "repairs": [], "alarms": [], "subsystems": [], "services": [],
            "capabilities": capabilities,
        }))
        .unwrap()
    }

    #[test]
    fn an_earlier_secondary_storage_vm_is_told_what_it_lacks_by_name() {
        let lacks = |words: &[&str]| lacking(&document(), &status(words));
        let all = lacks(&["blobs"]).unwrap();
        assert!(all.contains("needs image-layouts, image-peers, which firmware 0.9"), "{all}");
        let one = lacks(&["blobs", "image-layouts"]).unwrap();
        assert!(one.contains("needs image-peers, which"), "{one}");
        assert_eq!(lacks(&["image-layouts", "image-peers"]), None);
        let plain = std::fs::read_to_string("../examples/ssvm.json").unwrap();
        assert_eq!(lacking(&plain, &status(&[])), None);
    }
}
