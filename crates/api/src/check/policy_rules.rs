//! Policy rules: each order once in a family, one family in a rule, links that exist.

use super::Scope;
use crate::config::PolicyRule;

/// The largest order; the kernel numbers 20000 to 20999 are ours.
const LAST: u16 = 999;

pub(super) fn check(scope: &mut Scope<'_>, rules: &[PolicyRule]) {
    let path = |index: usize, field: &str| format!("policy_rules[{index}].{field}");
    scope.unique(
        "order",
        "duplicate-policy-rule",
        rules.iter().enumerate().map(|(i, rule)| (rule.order, path(i, "order"))),
    );
    for (index, rule) in rules.iter().enumerate() {
        if rule.order > LAST {
            let reason = format!("{} is more than {LAST}", rule.order);
            scope.error(path(index, "order"), "invalid-value", reason);
        }
        if let (Some(source), Some(destination)) = (rule.source, rule.destination)
            && source.is_ipv4() != destination.is_ipv4()
        {
            let reason = format!("{source} and {destination} are of different families");
            scope.error(path(index, "destination"), "family", reason);
        }
        if let Some(link) = &rule.link {
            scope.link(link, &path(index, "link"));
        }
    }
}
