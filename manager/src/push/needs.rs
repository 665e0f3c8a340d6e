//! Whether an appliance has what a configuration needs of it: of one of an earlier build that is told, by the feature's name
//! or the version that it reads, before it is sent what it cannot read or, worse, would do half of.

use std::collections::BTreeSet;

use serde::Deserialize;
use sluice_api::ApplianceConfig;
use sluice_api::config::AnyPart;
use sluice_api::config::vpn::{IkeVersion, VpnConfig};
use sluice_api::report::StatusReport;
use sluice_api::types::DhGroup;

/// What appliances read that do not say what they read: the first form of the contract.
const FIRST: &[u32] = &[1];

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Why the appliance cannot read `document` at all, and what to do; none when it can.
pub(super) fn unreadable(document: &str, status: &StatusReport) -> Option<String> {
    let Versioned { version } = serde_json::from_str(document).ok()?;
    let told = status.contract_versions.as_slice();
    let reads = if told.is_empty() { FIRST } else { told };
    if reads.contains(&version) {
        return None;
    }
    let reads = reads.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let build = match &status.build {
        Some(build) => format!("build {build}"),
        None => "a build without a name".to_owned(),
    };
    let StatusReport { appliance, firmware, .. } = status;
    Some(format!(
        "firmware {firmware} ({build}) of the appliance reads configurations of version {reads}, and this manager writes \
         version {version}: nothing is sent to it, and what it has stays in force. Start a machine of this manager's image \
         in its place, with `sluice appliance boot-document {appliance}`; docs/manager.md, \"Upgrades\""
    ))
}

/// What `document` needs and the appliance lacks, as a sentence; none when it lacks nothing. One that cannot be read needs
/// nothing that is known.
pub(super) fn lacking(document: &str, status: &StatusReport) -> Option<String> {
    let config: ApplianceConfig = serde_json::from_str(document).ok()?;
    let has: BTreeSet<&str> = status.capabilities.iter().map(String::as_str).collect();
    if has.contains(LIBRESWAN)
        && let AnyPart::Router(router) = &config.role
        && let Some(lack) = beyond_libreswan(&router.vpn)
    {
        let generation = config.generation;
        return Some(format!(
            "generation {generation} needs {lack}, which the appliance's IKE daemon libreswan cannot do"
        ));
    }
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

/// How an appliance names that IKE daemon.
const LIBRESWAN: &str = "ike-libreswan";

/// What of these connections libreswan 5.2 cannot do as Debian builds it; docs/vpn.md has the table. The router would refuse
/// it as well.
fn beyond_libreswan(vpn: &VpnConfig) -> Option<String> {
    let number = |group: Option<DhGroup>| group.map_or(0, DhGroup::number);
    vpn.connections.iter().find_map(|connection| {
        let (ike, esp) = (&connection.gateway.ike, &connection.gateway.esp);
        let curves = ike.version == IkeVersion::V1 && number(esp.pfs) >= 19;
        let what = match () {
            () if number(ike.group) == 2 || number(esp.pfs) == 2 => "group 2".to_owned(),
            () if curves => format!("group {} for PFS of IKEv1", number(esp.pfs)),
            () => return None,
        };
        Some(format!("{what} (connection {})", connection.id))
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
    fn what_an_appliance_cannot_read_is_told_by_its_version() {
        let document = std::fs::read_to_string("../examples/router.json").unwrap();
        let of = |versions: &[u32], build: Option<&str>| {
            let contract_versions = versions.to_vec();
            StatusReport { contract_versions, build: build.map(str::to_owned), ..status(&[]) }
        };
        assert_eq!(unreadable(&document, &of(&[2], None)), None);
        assert_eq!(unreadable(&document, &of(&[1, 2, 3], None)), None);
        let first = unreadable(&document, &of(&[], None)).unwrap();
        assert!(first.contains("firmware 0.9 (a build without a name)"), "{first}");
        assert!(first.contains("of version 1,") && first.contains("writes version 2"), "{first}");
        let later = unreadable(&document, &of(&[3, 4], Some("b7"))).unwrap();
        assert!(later.contains("(build b7)") && later.contains("version 3, 4,"), "{later}");
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

    #[test]
    fn what_libreswan_cannot_do_is_not_sent_to_it() {
        let text = std::fs::read_to_string("../examples/router.json").unwrap();
        let document = |version: &str, group: u8, pfs: u8| {
            let mut config: Value = serde_json::from_str(&text).unwrap();
            let psk = format!("sha256:{}", "a".repeat(64));
            config["role"]["router"]["vpn"] = json!({ "allow_obsolete": true, "connections": [{
                "id": "c-1", "address": "198.51.100.10", "local_networks": ["10.1.1.0/24"],
                "gateway": {
                    "id": "office", "address": "203.0.113.9", "networks": ["172.16.1.0/24"], "psk": psk,
                    "ike": { "version": version, "encryption": "aes256", "hash": "sha256", "group": group },
                    "esp": { "encryption": "aes256", "hash": "sha256", "pfs": pfs },
                },
            }] });
            config.to_string()
        };
        let told = |engine: &str, version: &str, group: u8, pfs: u8| {
            lacking(&document(version, group, pfs), &status(&[engine]))
        };
        let refused = told("ike-libreswan", "v2", 2, 14).unwrap();
        assert!(refused.contains("group 2 (connection c-1)"), "{refused}");
        assert!(refused.contains("libreswan cannot do"), "{refused}");
        let refused = told("ike-libreswan", "v1", 14, 19).unwrap();
        assert!(refused.contains("group 19 for PFS of IKEv1"), "{refused}");
        assert_eq!(told("ike-libreswan", "v2", 14, 19), None);
        assert_eq!(told("ike-strongswan", "v1", 2, 19), None);
    }
}
