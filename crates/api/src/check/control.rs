//! The way in for the manager must exist, and the way back to it.

use super::Scope;
use crate::config::LinkRole;
use crate::types::InterfaceAddress;

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
    reached(scope);
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

/// A manager that no route leads to would be let in and never answered: the push could only revert.
fn reached(scope: &mut Scope<'_>) {
    let control = scope.control;
    let near = scope.all_links.iter().flat_map(|link| &link.addresses);
    let ways: Vec<_> = near
        .map(InterfaceAddress::network)
        .chain(scope.routes.iter().map(|route| route.destination))
        .collect();
    for (index, manager) in control.managers.iter().enumerate() {
        if !ways.iter().any(|way| way.overlaps(manager)) {
            let reason = format!("no link or route leads to {manager}");
            scope.error(format!("control.managers[{index}]"), "manager-unreachable", reason);
        }
    }
}
