//! Tells neighbours of addresses that are new on a link, while the caller goes on.
//!
//! Guarantees: addresses that come together are announced by one socket for each link. Opening and closing one costs
//! milliseconds, which a configuration with a hundred addresses would wait for a hundred times.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rtnetlink::Handle;
use sluice_api::types::LinkName;
use tokio::sync::mpsc;

use super::links;

/// Addresses that come within this time of the first are announced together.
const TOGETHER: Duration = Duration::from_millis(20);

/// New addresses by link.
type New = BTreeMap<LinkName, BTreeSet<IpAddr>>;

/// The task that announces; it ends with this.
#[derive(Debug)]
pub(super) struct Announcer(mpsc::UnboundedSender<(LinkName, IpAddr)>);

impl Announcer {
    /// Panics outside of a tokio runtime.
    pub(super) fn start(handle: Handle) -> Self {
        let (sender, new) = mpsc::unbounded_channel();
        tokio::spawn(run(handle, new));
        Self(sender)
    }

    /// This address is new on the link.
    pub(super) fn tell(&self, link: LinkName, address: IpAddr) {
        // it runs as long as this is there
        let _runs = self.0.send((link, address));
    }
}

async fn run(handle: Handle, mut new: mpsc::UnboundedReceiver<(LinkName, IpAddr)>) {
    while let Some((link, address)) = new.recv().await {
        let mut all = New::from([(link, BTreeSet::from([address]))]);
        tokio::time::sleep(TOGETHER).await;
        while let Ok((link, address)) = new.try_recv() {
            all.entry(link).or_default().insert(address);
        }
        for (link, addresses) in all {
            tokio::spawn(announce(handle.clone(), link, addresses));
        }
    }
}

async fn announce(handle: Handle, link: LinkName, addresses: BTreeSet<IpAddr>) {
    let Some(mac) = links::mac(&handle, link.as_str()).await else { return };
    if let Err(error) = crate::packet::announce(link, mac, &addresses).await {
        // a link that is down announces by itself when it comes up (`arp_notify`)
        tracing::debug!(?addresses, %error, source = %error.source, "not announced");
    }
}
