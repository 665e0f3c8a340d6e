//! `sluice-router service ra`: advertisements under the agent, without privilege but for packet sockets.

use std::collections::BTreeMap;
use std::io;

use sluice_agent::service::Service;
use sluice_api::types::{Generation, LinkName};
use tokio::sync::watch;

use super::link;
use super::slice::{RaNetwork, RaSlice};

/// Serves until the agent goes away.
pub fn run() -> io::Result<()> {
    sluice_agent::service::run(Process::default)
}

/// A task for each link, which is told its network.
#[derive(Default)]
struct Process {
    links: BTreeMap<LinkName, Told>,
}

struct Told {
    network: watch::Sender<Option<RaNetwork>>,
    count: watch::Receiver<u64>,
}

impl Service for Process {
    type Slice = RaSlice;

    async fn apply(&mut self, _: Generation, slice: RaSlice) -> Result<(), String> {
        let wanted = |link: &LinkName| slice.networks.iter().any(|network| network.link == *link);
        for (_, told) in self.links.extract_if(.., |link, _| !wanted(link)) {
            told.network.send_replace(None);
        }
        for network in &slice.networks {
            let told = self.links.entry(network.link.clone()).or_insert_with(|| start(network));
            told.network.send_if_modified(|old| {
                let changed = old.as_ref() != Some(network);
                *old = Some(network.clone());
                changed
            });
        }
        Ok(())
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let sent = self.links.values().map(|told| *told.count.borrow()).sum();
        BTreeMap::from([("advertisements_sent".to_owned(), sent)])
    }
}

fn start(network: &RaNetwork) -> Told {
    let (network, told) = watch::channel(Some(network.clone()));
    let (counter, count) = watch::channel(0);
    tokio::spawn(link::run(told, counter));
    Told { network, count }
}
