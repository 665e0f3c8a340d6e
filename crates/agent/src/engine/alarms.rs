//! What is wrong now. An alarm stands as long as its cause, and no longer: health is judged by it.

use std::sync::Arc;

use super::Engine;
use crate::appliance::{Appliance, Configuration};
use crate::causes::chain;
use crate::ledger::LedgerError;

/// What an alarm is about; there is one of each at a time, but for what was found when the ledger was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Found when the ledger was opened; ends with the next commit.
    Opening,
    /// The ledger cannot be written; ends when it was.
    Writing,
    /// One page of the ledger does not hold what was committed; ends when it does.
    OnePage,
    /// Blobs of the configuration are lost; ends when they have been sent again.
    Blobs,
    /// What is meant to be in force is not; ends when it is.
    NotInForce,
    /// The table of tracked connections is full or nearly so; ends a minute after it is not.
    Connections,
    /// A link to the outside has no carrier; ends when it has.
    Carrier,
}

/// The alarms that stand.
#[derive(Debug, Default)]
pub(super) struct Alarms(Vec<(Trouble, String)>);

impl Alarms {
    /// Raises an alarm; true when it says something that none said before.
    fn raise(&mut self, trouble: Trouble, text: &str) -> bool {
        if self.0.iter().any(|(known, said)| *known == trouble && said == text) {
            return false;
        }
        if trouble != Trouble::Opening {
            self.clear(trouble);
        }
        self.0.push((trouble, text.to_owned()));
        true
    }

    fn clear(&mut self, trouble: Trouble) {
        self.0.retain(|(known, _)| *known != trouble);
    }

    /// Their texts, the oldest first.
    pub(super) fn texts(&self) -> Vec<String> {
        self.0.iter().map(|(_, text)| text.clone()).collect()
    }
}

impl<A: Appliance> Engine<A> {
    /// Raises an alarm and logs it when it is new.
    pub(super) fn alarm(&mut self, trouble: Trouble, text: &str) {
        if self.alarms.raise(trouble, text) {
            tracing::error!(alarm = text, "alarm");
        }
    }

    /// The cause of an alarm is gone.
    pub(super) fn clear(&mut self, trouble: Trouble) {
        self.alarms.clear(trouble);
    }

    /// Makes what is pending the last good configuration.
    pub(super) fn commit(&mut self) -> Result<(), LedgerError> {
        let former = self.ledger.state().committed.as_ref().map(|entry| Arc::clone(&entry.config));
        self.ledger.commit()?;
        self.former_blobs = former.as_ref().map(|config| config.blobs()).unwrap_or_default();
        self.make_connections_obey(former);
        self.keep_blobs();
        self.clear(Trouble::Opening);
        self.clear(Trouble::Writing);
        Ok(())
    }

    /// Sees to it that each page of the ledger holds what was committed; usually it does.
    pub(super) fn keep_both_pages(&mut self) {
        match self.ledger.mirror() {
            Ok(()) => self.clear(Trouble::OnePage),
            Err(error) => {
                let text = format!("the ledger has one page only: {}", chain(&error));
                self.alarm(Trouble::OnePage, &text);
            }
        }
        self.publish();
    }

    /// Forgets the pending configuration in the ledger.
    pub(super) fn abandon(&mut self) {
        match self.ledger.abandon() {
            Ok(()) => self.clear(Trouble::Writing),
            // the pending entry stays in the file; a restart drops it all the same
            Err(error) => self.cannot_write(&error),
        }
    }

    fn cannot_write(&mut self, error: &LedgerError) {
        let text = format!("the ledger cannot be written: {}", chain(error));
        self.alarm(Trouble::Writing, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_stands_as_long_as_its_cause() {
        let mut alarms = Alarms::default();
        assert!(alarms.raise(Trouble::NotInForce, "a"));
        assert!(!alarms.raise(Trouble::NotInForce, "a"));
        assert!(alarms.raise(Trouble::NotInForce, "b"));
        assert!(alarms.raise(Trouble::Opening, "c"));
        assert!(alarms.raise(Trouble::Opening, "d"));
        assert_eq!(alarms.texts(), ["b", "c", "d"]);
        alarms.clear(Trouble::NotInForce);
        assert_eq!(alarms.texts(), ["c", "d"]);
    }
}
