//! Rules that end by themselves: what is in force is the configuration as it is at the present time.
//!
//! Guarantees: soon after its end a rule is gone from the kernel, and so are the connections that it alone allowed, also
//! when the agent was away at that time. Does not: touch the configuration, which keeps the rule and its end. A clock
//! that is set back brings a rule back with the next full comparison.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sluice_api::types::UtcTime;
use tracing::info;

use super::apply::Mode;
use super::{Engine, Target};
use crate::appliance::{Appliance, Configuration};

/// The present time; a clock before 1970 is at its beginning.
pub(super) fn clock() -> UtcTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcTime::from_unix(since.as_secs())
}

impl<A: Appliance> Engine<A> {
    /// True when something of `target` has ended since it was brought into force.
    pub(super) fn has_ended(&self, target: &Target<A>) -> bool {
        let next = target.as_ref().and_then(|entry| entry.config.next_end(self.now));
        next.is_some_and(|end| end <= clock())
    }

    /// Brings `target` into force as it is now, and ends the connections that lived by what has ended.
    pub(super) async fn end_rules(&mut self, target: &Target<A>) {
        info!("rules have reached their end");
        let before = target.as_ref().map(|entry| Arc::new(entry.config.at(self.now).into_owned()));
        match self.reach(target, Mode::KeepGoing).await {
            Ok(_) => self.settled(),
            Err(error) => self.not_in_force(&error.chain()),
        }
        if self.ledger.state().pending.is_none() {
            self.make_connections_obey(before);
        }
        self.publish();
    }

    /// After a start: what ended while nobody looked allows no connection any more.
    pub(super) fn end_what_is_over(&mut self) {
        let committed = self.ledger.state().committed.as_ref();
        let over = committed.filter(|entry| matches!(entry.config.at(self.now), Cow::Owned(_)));
        if let Some(whole) = over.map(|entry| Arc::clone(&entry.config)) {
            self.make_connections_obey(Some(whole));
        }
    }
}
