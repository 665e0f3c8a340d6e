//! Policy rules of the fake kernel.

use super::State;
use crate::model::PolicyEntry;

impl State {
    /// As `fib_nl_newrule`: the same rule again is refused.
    pub(super) fn add_policy(&mut self, rule: &PolicyEntry) -> Result<(), i32> {
        if self.seen.policy_rules.insert(rule.clone()) { Ok(()) } else { Err(libc::EEXIST) }
    }
}
