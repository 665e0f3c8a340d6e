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
        // while both are there the kernel keeps one connected route, and it would go with the old address
        if added.iter().any(|(_, new)| new.network().overlaps(&address.network())) {
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
