//! Addresses on our links. Whatever else is on a link of ours goes; links that are not ours are not looked at.

use sluice_api::report::Subsystem;
use sluice_api::types::{InterfaceAddress, LinkName};
use sluice_sys::model::{Desired, Observed, Step};

use super::{Phases, Plan};

pub(super) fn addresses(desired: &Desired, observed: &Observed, plan: &mut Plan) -> Phases {
    let mut phases = Phases::default();
    let present = |link: &LinkName, address: InterfaceAddress| {
        observed.addresses.contains(&(link.to_string(), address))
    };
    let added: Vec<_> =
        desired.addresses.iter().filter(|(link, address)| !present(link, *address)).collect();
    plan.keep(Subsystem::Addresses, desired.addresses.len() - added.len());
    for (link, address) in &observed.addresses {
        let ours = observed.links.get(link).is_some_and(|link| link.ours);
        let wanted = link.parse().is_ok_and(|name| desired.addresses.contains(&(name, *address)));
        if !ours || wanted {
            continue;
        }
        let step = Step::RemoveAddress { link: link.clone(), address: *address };
        // on one link the old one goes last: with `promote_secondaries` the new one takes its place, and neither its
        // siblings nor the routes of their network go along; on two, the network must not be on both
        let elsewhere = |(other, new): &&(LinkName, InterfaceAddress)| {
            other.as_str() != link && new.network().overlaps(&address.network())
        };
        if added.iter().any(elsewhere) {
            phases.first.push(step);
        } else {
            phases.last.push(step);
        }
    }
    let additions = added
        .into_iter()
        .map(|(link, address)| Step::AddAddress { link: link.clone(), address: *address });
    phases.first.extend(additions);
    phases
}
