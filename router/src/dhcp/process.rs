//! `sluice-router service dhcp`: the server as a process of the agent's, which gives it slices and reads its counters.
//!
//! What the process may do (its user, `CAP_NET_BIND_SERVICE`, its system calls) is set by whoever starts it, who also gives it
//! the socket by which it sends frames: it may not open packet sockets itself.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_agent::service::state_folder;
use sluice_api::types::{Generation, LinkName};
use tokio::time::Instant;

use super::service::{Service, Status};
use super::slice::DhcpSlice;
use crate::appliance::DHCP;

/// Serves until the agent goes away.
pub fn run() -> io::Result<()> {
    sluice_agent::service::run(Process::default)
}

/// How long the sockets of a slice may take to open; the links are there before the slice is given.
const OPENING: Duration = Duration::from_secs(2);
/// Between two looks whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Loans in a report: as many as leave room for the rest of a line.
const MOST_TOLD: usize = 1500;

/// Nothing is served before the first slice.
#[derive(Debug, Default)]
struct Process {
    service: Option<Service>,
    /// The slice in force, to which a refused one returns.
    slice: Option<DhcpSlice>,
}

impl Process {
    /// What each link of `slice` has come to: `None` is open.
    async fn opened(service: &Service, slice: &DhcpSlice) -> BTreeMap<LinkName, Option<String>> {
        let late = Instant::now() + OPENING;
        loop {
            let links = service.status().links;
            let tried = slice.networks.iter().all(|network| links.contains_key(&network.link));
            if tried || Instant::now() > late {
                return links;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl sluice_agent::service::Service for Process {
    type Slice = DhcpSlice;

    /// In force when the sockets are open. One that cannot be opened on a link that the slice adds is a refusal; on a link
    /// that was there before it is not this slice's fault, and is tried again as ever.
    async fn apply(&mut self, _: Generation, slice: DhcpSlice) -> Result<(), String> {
        let service = match &mut self.service {
            Some(service) => {
                service.replace(&slice);
                service
            }
            None => {
                let folder = state_folder(DHCP);
                // a server on a desk's agent has none
                let folder = folder.is_dir().then_some(folder.as_path());
                self.service.insert(Service::start(&slice, folder))
            }
        };
        let links = Self::opened(service, &slice).await;
        if let Some(former) = &self.slice {
            let known = |link: &LinkName| former.networks.iter().any(|one| one.link == *link);
            let fault = links.iter().find_map(|(link, fault)| {
                fault.as_ref().filter(|_| !known(link)).map(|fault| format!("{link}: {fault}"))
            });
            if let Some(fault) = fault {
                service.replace(former);
                return Err(fault);
            }
        }
        self.slice = Some(slice);
        Ok(())
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        self.service.as_ref().map(|service| flat(&service.status())).unwrap_or_default()
    }

    /// What is lent, as far as it fits.
    fn report(&self) -> Value {
        match self.service.as_ref().map(|service| service.loans(MOST_TOLD)) {
            Some(loans) if !loans.is_empty() => json!({ "lent": loans }),
            _ => Value::Null,
        }
    }
}

/// One name per counter, such as `dropped_unknown_client`.
fn flat(status: &Status) -> BTreeMap<String, u64> {
    let groups =
        [("received", &status.received), ("sent", &status.sent), ("dropped", &status.dropped)];
    let grouped = groups.into_iter().flat_map(|(group, counts)| {
        counts
            .iter()
            .map(move |(name, count)| (format!("{group}_{}", name.replace('-', "_")), *count))
    });
    let open = status.links.values().filter(|trouble| trouble.is_none()).count();
    let single = [
        ("leases_active", u64::try_from(status.active_leases).unwrap_or(u64::MAX)),
        ("leases_lent", u64::try_from(status.lent).unwrap_or(u64::MAX)),
        ("leases_lendable", u64::try_from(status.lendable).unwrap_or(u64::MAX)),
        ("links_open", u64::try_from(open).unwrap_or(u64::MAX)),
        ("options_omitted", status.options_omitted),
        ("send_failures", status.send_failures),
    ];
    grouped.chain(single.map(|(name, count)| (name.to_owned(), count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_names_that_metrics_can_carry() {
        let status = Status {
            links: [
                ("guest0".parse().unwrap(), None),
                ("guest1".parse().unwrap(), Some("gone".to_owned())),
            ]
            .into(),
            active_leases: 2,
            lent: 1,
            lendable: 9,
            received: [("discover", 3)].into(),
            sent: [("offer", 2)].into(),
            dropped: [("unknown-client", 1)].into(),
            options_omitted: 0,
            send_failures: 0,
        };
        let flat: Vec<_> =
            flat(&status).into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        let expected = [
            "dropped_unknown_client 1",
            "leases_active 2",
            "leases_lendable 9",
            "leases_lent 1",
            "links_open 1",
            "options_omitted 0",
            "received_discover 3",
            "send_failures 0",
            "sent_offer 2",
        ];
        assert_eq!(flat, expected);
    }
}
