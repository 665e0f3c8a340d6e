//! `sluice-router service uplinks`: the watch under the agent, without privilege but for ICMP sockets.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};
use sluice_agent::service::Service;
use sluice_api::report::uplinks::{Report, UplinkReport};
use sluice_api::types::{Generation, LinkName};

use super::health::Health;
use super::slice::{UplinksSlice, Watched};
use crate::per_link::{PerLink, Told};

/// Watches until the agent goes away.
pub fn run() -> io::Result<()> {
    sluice_agent::service::run(Process::default)
}

/// A task for each uplink, which says how it is.
#[derive(Default)]
struct Process {
    links: PerLink<Watched, Health>,
}

impl Service for Process {
    type Slice = UplinksSlice;

    async fn apply(&mut self, _: Generation, slice: UplinksSlice) -> Result<(), String> {
        self.links.follow(
            &slice.uplinks,
            |up| &up.link,
            |told, noted| {
                tokio::spawn(super::watch::run(told, noted));
            },
        );
        Ok(())
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let changes = self.links.0.values().map(|told| told.news.borrow().changes).sum();
        BTreeMap::from([("changes".to_owned(), changes)])
    }

    fn report(&self) -> Value {
        let uplinks = self.links.0.iter().map(|(link, told)| report(link, told)).collect();
        json!(Report { uplinks })
    }
}

fn report(link: &LinkName, told: &Told<Watched, Health>) -> UplinkReport {
    let (health, settings) = (*told.news.borrow(), told.settings.borrow());
    UplinkReport {
        link: link.clone(),
        up: health.up,
        targets: settings.as_ref().map(|it| it.targets.clone()).unwrap_or_default(),
        answered: health.answered,
        failed: health.failed,
        changes: health.changes,
    }
}
