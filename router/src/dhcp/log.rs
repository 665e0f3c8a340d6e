//! Log lines for events, at a bounded rate: a client can send as fast as it likes, the log cannot grow as fast.
//!
//! Two budgets, so that noise (unknown clients, malformed messages) does not drown the leases' lines.

use std::time::Duration;

use sluice_api::types::LinkName;
use tracing::{debug, info, warn};

use super::server::{DropReason, Event};
use crate::budget::Budget;

/// Writes events to the log.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    leases: Budget,
    noise: Budget,
}

impl EventLog {
    /// Writes `event`, or counts it as left out.
    pub(crate) fn write(&mut self, now: Duration, link: &LinkName, event: Event) {
        match event {
            Event::Offered(mac, address) => debug!(%link, %mac, %address, "dhcp offer"),
            Event::Informed(mac, address) => debug!(%link, %mac, %address, "dhcp inform"),
            Event::Dropped(DropReason::OtherServer(mac)) => {
                debug!(%link, %mac, "dhcp message for another server");
            }
            Event::Dropped(reason) => self.dropped(now, link, reason),
            _ => self.lease(now, link, event),
        }
    }

    fn lease(&mut self, now: Duration, link: &LinkName, event: Event) {
        let Some(suppressed) = self.leases.take(now) else { return };
        match event {
            Event::Acked(mac, address) => info!(%link, %mac, %address, suppressed, "dhcp lease"),
            Event::Released(mac, address) => {
                info!(%link, %mac, %address, suppressed, "dhcp release");
            }
            Event::Refused(mac, asked, why) => {
                info!(%link, %mac, %asked, ?why, suppressed, "dhcp refused");
            }
            Event::Declined(mac, address) => warn!(
                %link, %mac, %address, suppressed,
                "dhcp decline: the guest found its address in use by another host"
            ),
            Event::Offered(..) | Event::Informed(..) | Event::Dropped(_) => {}
        }
    }

    fn dropped(&mut self, now: Duration, link: &LinkName, reason: DropReason) {
        let Some(suppressed) = self.noise.take(now) else { return };
        let name = reason.name();
        match reason {
            DropReason::Malformed(error) => {
                info!(%link, reason = name, %error, suppressed, "dhcp message dropped");
            }
            DropReason::NoNetwork => {
                info!(%link, reason = name, suppressed, "dhcp message dropped");
            }
            DropReason::ForeignRelay(mac, relay) => {
                info!(%link, reason = name, %mac, %relay, suppressed, "dhcp message dropped");
            }
            DropReason::UnknownClient(mac)
            | DropReason::OtherServer(mac)
            | DropReason::NoAddress(mac)
            | DropReason::ForeignAddress(mac)
            | DropReason::Held(mac)
            | DropReason::Exhausted(mac) => {
                info!(%link, reason = name, %mac, suppressed, "dhcp message dropped");
            }
        }
    }
}
