//! When an uplink is up: so many probes in a row have to agree. The first answer ever is enough, so that what is known is soon
//! known. Pure.

/// What probes made of an uplink so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// None until one was answered, or enough were not.
    pub(super) up: Option<bool>,
    /// Probes that were answered.
    pub(super) answered: u64,
    /// Probes that failed.
    pub(super) failed: u64,
    /// How often it went down or came up again.
    pub(super) changes: u64,
    /// Probes in a row that came out as the last one did.
    run: u8,
    last: bool,
}

impl Health {
    /// Takes in how a probe came out; the new state, if it is another or the first.
    pub(super) fn heard(&mut self, answered: bool, down_after: u8, up_after: u8) -> Option<bool> {
        *(if answered { &mut self.answered } else { &mut self.failed }) += 1;
        self.run = if self.last == answered { self.run.saturating_add(1) } else { 1 };
        self.last = answered;
        let enough = match (answered, self.up) {
            (true, None) => 1,
            (true, Some(_)) => up_after,
            (false, _) => down_after,
        };
        if self.up == Some(answered) || self.run < enough {
            return None;
        }
        self.changes += u64::from(self.up.is_some());
        self.up = Some(answered);
        self.up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_row_have_to_agree() {
        let mut health = Health::default();
        let mut told = |answers: &str| {
            let each = answers.chars().map(|it| health.heard(it == '+', 3, 2));
            (each.collect::<Vec<_>>(), health.changes)
        };
        let up = Some(true);
        assert_eq!(told("-+-"), (vec![None, up, None], 0), "the first that is known is no change");
        assert_eq!(told("-+--+"), (vec![None; 5], 0), "two are not three");
        assert_eq!(told("---"), (vec![None, None, Some(false)], 1));
        assert_eq!(told("-+-+"), (vec![None; 4], 1), "one is not two");
        assert_eq!(told("+"), (vec![up], 2));
        assert_eq!((health.answered, health.failed), (6, 10));
    }

    #[test]
    fn the_first_state_may_be_down() {
        let mut health = Health::default();
        assert_eq!(health.heard(false, 1, 1), Some(false));
        assert_eq!((health.up, health.changes), (Some(false), 0));
    }
}
