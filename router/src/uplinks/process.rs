//! `sluice-router service uplinks`: the watch under the agent, without privilege but for ICMP sockets.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};
use sluice_agent::service::Service;
use sluice_api::report::uplinks::{Report, UplinkReport};
use sluice_api::types::{Generation, LinkName};
use tokio::sync::watch;

use super::health::Health;
use super::slice::{UplinksSlice, Watched};

/// Watches until the agent goes away.
pub fn run() -> io::Result<()> {
    sluice_agent::service::run(Process::default)
}

/// A task for each uplink, which is told its settings.
#[derive(Default)]
struct Process {
    links: BTreeMap<LinkName, Told>,
}

struct Told {
    settings: watch::Sender<Option<Watched>>,
    health: watch::Receiver<Health>,
}

impl Service for Process {
    type Slice = UplinksSlice;

    async fn apply(&mut self, _: Generation, slice: UplinksSlice) -> Result<(), String> {
        let wanted = |link: &LinkName| slice.uplinks.iter().any(|up| up.link == *link);
        for (_, told) in self.links.extract_if(.., |link, _| !wanted(link)) {
            told.settings.send_replace(None);
        }
        for up in &slice.uplinks {
            let told = self.links.entry(up.link.clone()).or_insert_with(|| start(up));
            told.settings.send_if_modified(|old| {
                let changed = old.as_ref() != Some(up);
                *old = Some(up.clone());
                changed
            });
        }
        Ok(())
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let changes = self.links.values().map(|told| told.health.borrow().changes).sum();
        BTreeMap::from([("changes".to_owned(), changes)])
    }

    fn report(&self) -> Value {
        let uplinks = self.links.iter().map(|(link, told)| told.report(link)).collect();
        json!(Report { uplinks })
    }
}

impl Told {
    fn report(&self, link: &LinkName) -> UplinkReport {
        let (health, settings) = (*self.health.borrow(), self.settings.borrow());
        UplinkReport {
            link: link.clone(),
            up: health.up,
            targets: settings.as_ref().map(|it| it.targets.clone()).unwrap_or_default(),
            answered: health.answered,
            failed: health.failed,
            changes: health.changes,
        }
    }
}

fn start(up: &Watched) -> Told {
    let (settings, told) = watch::channel(Some(up.clone()));
    let (noted, health) = watch::channel(Health::default());
    tokio::spawn(super::watch::run(told, noted));
    Told { settings, health }
}
