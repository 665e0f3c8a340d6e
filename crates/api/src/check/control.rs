//! The way in for the manager must exist.

use super::Scope;
use crate::config::LinkRole;

pub(super) fn check(scope: &mut Scope<'_>) {
    let control = scope.control;
    if let Some(link) = scope.link(&control.link, "control.link") {
        if link.role != LinkRole::Control {
            scope.error(
                "control.link",
                "link-role",
                format!("link {} is not a control link", link.name),
            );
        }
        if link.addresses.is_empty() {
            scope.error(
                "control.link",
                "no-address",
                format!("link {} has no address to listen on", link.name),
            );
        }
    }
    let surplus: Vec<_> = scope
        .all_links
        .iter()
        .enumerate()
        .filter(|(_, link)| link.role == LinkRole::Control && link.name != control.link)
        .map(|(index, link)| (index, link.name.clone()))
        .collect();
    for (index, name) in surplus {
        let reason = format!("link {name} is a second control link; {} is the one", control.link);
        scope.error(format!("links[{index}].role"), "link-role", reason);
    }
}
