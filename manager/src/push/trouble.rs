//! What an appliance reports as wrong with it, in lines for a person: pure.

use sluice_api::report::{ServiceState, StatusReport};

/// Its alarms, what of its configuration is not in force, and services that are down. A service that is just being started
/// is none.
pub(super) fn lines(status: &StatusReport) -> Vec<String> {
    let failed = status.subsystems.iter().flat_map(|part| {
        let name = format!("{:?}", part.subsystem).to_lowercase();
        part.failed.iter().map(move |reason| format!("{name}: {reason}"))
    });
    let down = status.services.iter().filter(|service| service.state == ServiceState::Restarting);
    let down = down.map(|service| {
        let why = service.last_exit.as_deref().unwrap_or("no reason given");
        format!("service {} is down: {why} ({} restarts)", service.name, service.restarts)
    });
    status.alarms.iter().cloned().chain(failed).chain(down).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_that_failed_and_services_that_are_down_are_told() {
        let status: StatusReport = serde_json::from_value(json!({
            "appliance": "r-1", "role": "router", "firmware": "test", "uptime_seconds": 1,
            "phase": "degraded", "current": null, "pending": null, "repairs": [],
            "alarms": ["the clock is wrong"],
            "subsystems": [
                { "subsystem": "links", "unchanged": 1, "changed": 0, "failed": ["no NIC 02:00:00:00:00:01"] },
                { "subsystem": "routes", "unchanged": 1, "changed": 0, "failed": [] },
            ],
            "services": [
                { "name": "dhcp", "state": "running", "pid": 7, "generation": 1, "restarts": 0,
                  "last_exit": null, "counters": {} },
                { "name": "dns", "state": "restarting", "pid": null, "generation": null, "restarts": 3,
                  "last_exit": "signal 9", "counters": {} },
            ],
        }))
        .unwrap();
        assert_eq!(
            lines(&status),
            [
                "the clock is wrong",
                "links: no NIC 02:00:00:00:00:01",
                "service dns is down: signal 9 (3 restarts)",
            ]
        );
    }
}
