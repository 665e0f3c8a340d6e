//! What is left once the link steps are done: addresses, routes and settings go or move along with links.
//!
//! Guarantees: with a kernel that does more or less than foreseen here, the next observation shows it and the plan made
//! then mends it; this only makes that the exception.

use std::borrow::Cow;

use sluice_api::types::InterfaceAddress;
use sluice_sys::model::{Observed, Step, SysctlKey};

/// `observed` as it will be after `steps`, as far as addresses, routes and settings are concerned.
pub(super) fn after<'a>(observed: &'a Observed, steps: &[Step]) -> Cow<'a, Observed> {
    let mut after = Cow::Borrowed(observed);
    for step in steps {
        match step {
            Step::Rename { from, to } => renamed(after.to_mut(), from, to.as_str()),
            Step::DeleteLink { link } => gone(after.to_mut(), link),
            Step::SetDown { link } => down(after.to_mut(), link),
            Step::CreateVlan { link, .. } => unset(after.to_mut(), link.as_str()),
            _ => {}
        }
    }
    after
}

/// `observed` as it will be after these address steps: with a link's last IPv4 address go all its IPv4 routes, and with
/// any address the routes from it.
pub(super) fn after_addresses<'a>(observed: &'a Observed, steps: &[Step]) -> Cow<'a, Observed> {
    let mut after = Cow::Borrowed(observed);
    for step in steps {
        match step {
            Step::AddAddress { link, address } => {
                after.to_mut().addresses.insert((link.to_string(), *address));
            }
            Step::RemoveAddress { link, address } => {
                let seen = after.to_mut();
                seen.addresses.remove(&(link.clone(), *address));
                let v4 =
                    |(name, left): &(String, InterfaceAddress)| name == link && left.ip().is_ipv4();
                let none_left = address.ip().is_ipv4() && !seen.addresses.iter().any(v4);
                seen.routes.retain(|route| {
                    let flushed =
                        none_left && route.link.as_str() == link && route.destination.is_ipv4();
                    !flushed && route.source != Some(address.ip())
                });
            }
            _ => {}
        }
    }
    after
}

fn renamed(seen: &mut Observed, from: &str, to: &str) {
    // a NIC is taken down for its new name
    down(seen, from);
    unset(seen, from);
    unset(seen, to);
    if let Some(mut link) = seen.links.remove(from) {
        link.ours = true;
        seen.links.insert(to.to_owned(), link);
    }
    let addresses = std::mem::take(&mut seen.addresses).into_iter();
    seen.addresses = addresses
        .map(|(link, address)| (if link == from { to.to_owned() } else { link }, address))
        .collect();
}

fn gone(seen: &mut Observed, name: &str) {
    seen.links.remove(name);
    seen.addresses.retain(|(link, _)| link != name);
    seen.routes.retain(|route| route.link.as_str() != name);
    unset(seen, name);
}

/// The kernel drops the routes and IPv6 addresses of a link that goes down; IPv4 addresses stay.
fn down(seen: &mut Observed, name: &str) {
    seen.addresses.retain(|(link, address)| link != name || address.ip().is_ipv4());
    seen.routes.retain(|route| route.link.as_str() != name);
}

/// Settings of one link are those of whatever has its name: they are set anew.
fn unset(seen: &mut Observed, name: &str) {
    let of_link = |key: &SysctlKey| key.as_str().split('.').nth(3) == Some(name);
    seen.sysctls.retain(|key, _| !of_link(key));
}
