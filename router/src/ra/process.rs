//! `sluice-router service ra`: advertisements under the agent, without privilege but for packet sockets.

use std::collections::BTreeMap;
use std::io;

use sluice_agent::service::Service;
use sluice_api::types::Generation;

use super::link;
use super::slice::{RaNetwork, RaSlice};
use crate::per_link::PerLink;

/// Serves until the agent goes away.
pub fn run() -> io::Result<()> {
    sluice_agent::service::run(Process::default)
}

/// A task for each link, which counts its advertisements.
#[derive(Default)]
struct Process {
    links: PerLink<RaNetwork, u64>,
}

impl Service for Process {
    type Slice = RaSlice;

    async fn apply(&mut self, _: Generation, slice: RaSlice) -> Result<(), String> {
        self.links.follow(
            &slice.networks,
            |network| &network.link,
            |told, count| {
                tokio::spawn(link::run(told, count));
            },
        );
        Ok(())
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let sent = self.links.0.values().map(|told| *told.news.borrow()).sum();
        BTreeMap::from([("advertisements_sent".to_owned(), sent)])
    }
}
