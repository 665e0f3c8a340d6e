//! NICs get their names, VLANs come and go, sizes and addresses are set.

use std::collections::BTreeSet;

use sluice_api::config::Attachment;
use sluice_api::report::Subsystem;
use sluice_api::types::{LinkName, MacAddr, VlanId};
use sluice_sys::model::{Desired, DesiredLink, Observed, ObservedLink, Step};

use super::Plan;

/// Steps in order: VLANs that go, NICs, VLANs that come; a NIC grows before its VLANs do and shrinks after them.
pub(super) fn links(desired: &Desired, observed: &Observed, plan: &mut Plan) -> Vec<Step> {
    let mut steps = gone(desired, observed);
    let (mut nics, mut vlans, mut shrinking) = (Vec::new(), Vec::new(), Vec::new());
    let mut right = 0;
    for (name, wanted) in &desired.links {
        let own = link(name, wanted, desired, observed);
        right += usize::from(own.is_empty());
        for step in own {
            match &wanted.attach {
                Attachment::Nic { .. } if shrinks(&step) => shrinking.push(step),
                Attachment::Nic { .. } => nics.push(step),
                Attachment::Vlan { .. } => vlans.push(step),
            }
        }
    }
    plan.keep(Subsystem::Links, right);
    steps.extend(untangled(nics, observed));
    steps.extend(vlans);
    steps.extend(shrinking);
    steps
}

fn shrinks(step: &Step) -> bool {
    matches!(step, Step::SetMtu { from, to, .. } if *from > u32::from(to.get()))
}

fn link(
    name: &LinkName,
    wanted: &DesiredLink,
    desired: &Desired,
    observed: &Observed,
) -> Vec<Step> {
    match &wanted.attach {
        Attachment::Nic { mac } => nic(name, *mac, wanted, observed),
        Attachment::Vlan { trunk, id, mac } => {
            let present = observed.links.get(name.as_str());
            match present.filter(|link| is_tag(link, trunk, *id, desired, observed)) {
                Some(link) => {
                    let trunks = observed.links.get(trunk.as_str()).and_then(|trunk| trunk.mac);
                    vlan(name, mac.or(trunks), wanted, link)
                }
                None => new_vlan(name, *mac, wanted),
            }
        }
    }
}

/// Our VLANs that are not wanted, or not in this place; our NICs that are not wanted stop, and leave a name that another
/// link is to have.
fn gone(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, link) in observed.links.iter().filter(|(_, link)| link.ours) {
        let wanted = name.parse().ok().and_then(|name: LinkName| desired.links.get(&name));
        if link.vlan.is_none() {
            if matched(desired, observed, name) {
                continue;
            }
            match parking(name, observed).filter(|_| wanted.is_some()) {
                Some(to) => steps.push(Step::Rename { from: name.clone(), to }),
                None if link.up => steps.push(Step::SetDown { link: name.clone() }),
                None => {}
            }
        } else if !wanted.is_some_and(|wanted| right_tag(wanted, link, desired, observed)) {
            steps.push(Step::DeleteLink { link: name.clone() });
        }
    }
    steps
}

/// True when some wanted NIC is this interface, whatever its present name.
fn matched(desired: &Desired, observed: &Observed, name: &str) -> bool {
    desired.links.values().any(|wanted| match &wanted.attach {
        Attachment::Nic { mac } => observed.nic(*mac).is_some_and(|(found, _)| found == name),
        Attachment::Vlan { .. } => false,
    })
}

fn right_tag(
    wanted: &DesiredLink,
    link: &ObservedLink,
    desired: &Desired,
    observed: &Observed,
) -> bool {
    match &wanted.attach {
        Attachment::Vlan { trunk, id, .. } => is_tag(link, trunk, *id, desired, observed),
        Attachment::Nic { .. } => false,
    }
}

/// True when `link` is this VLAN on this trunk. A trunk that is about to be renamed, or to be another NIC, is not it,
/// and its VLANs are made anew: they would follow the NIC, not the name.
fn is_tag(
    link: &ObservedLink,
    trunk: &LinkName,
    id: VlanId,
    desired: &Desired,
    observed: &Observed,
) -> bool {
    let Some((parent, tag)) = &link.vlan else { return false };
    *tag == id && parent == trunk.as_str() && stays(trunk, desired, observed)
}

/// True when the NIC that is to have this name has it already.
fn stays(name: &LinkName, desired: &Desired, observed: &Observed) -> bool {
    let Some(Attachment::Nic { mac }) = desired.links.get(name).map(|link| &link.attach) else {
        return false;
    };
    observed.nic(*mac).is_some_and(|(found, link)| found == name.as_str() && link.ours)
}

fn nic(name: &LinkName, mac: MacAddr, wanted: &DesiredLink, observed: &Observed) -> Vec<Step> {
    let Some((present, link)) = observed.nic(mac) else {
        // not there (yet): the step fails with an error that names the link
        return vec![Step::SetUp { link: name.clone() }];
    };
    let renamed = present != name.as_str() || !link.ours;
    let mut steps = Vec::new();
    if renamed {
        steps.push(Step::Rename { from: present.to_owned(), to: name.clone() });
    }
    size_and_state(name, wanted, link, link.up && !renamed, &mut steps);
    steps
}

fn new_vlan(name: &LinkName, mac: Option<MacAddr>, wanted: &DesiredLink) -> Vec<Step> {
    let mut steps = vec![Step::CreateVlan { link: name.clone(), attach: wanted.attach.clone() }];
    if let Some(mac) = mac {
        steps.push(Step::SetMac { link: name.clone(), mac });
    }
    // the size it starts with is its trunk's, which is not known before it is there
    steps.push(Step::SetMtu { link: name.clone(), from: 0, to: wanted.mtu });
    steps.push(Step::SetUp { link: name.clone() });
    steps
}

fn vlan(
    name: &LinkName,
    mac: Option<MacAddr>,
    wanted: &DesiredLink,
    link: &ObservedLink,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(mac) = mac.filter(|mac| link.mac != Some(*mac)) {
        steps.push(Step::SetMac { link: name.clone(), mac });
    }
    size_and_state(name, wanted, link, link.up, &mut steps);
    steps
}

fn size_and_state(
    name: &LinkName,
    wanted: &DesiredLink,
    link: &ObservedLink,
    up: bool,
    steps: &mut Vec<Step>,
) {
    if link.mtu != u32::from(wanted.mtu.get()) {
        steps.push(Step::SetMtu { link: name.clone(), from: link.mtu, to: wanted.mtu });
    }
    if !up {
        steps.push(Step::SetUp { link: name.clone() });
    }
}

/// A NIC that has the name another one is to get steps aside first.
fn untangled(steps: Vec<Step>, observed: &Observed) -> Vec<Step> {
    let taken: BTreeSet<String> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Rename { from, to } if from != to.as_str() => Some(to.to_string()),
            _ => None,
        })
        .collect();
    let mut aside = Vec::new();
    let mut rest = Vec::new();
    for step in steps {
        match step {
            Step::Rename { from, to } if from != to.as_str() && taken.contains(&from) => {
                if let Some(parked) = parking(&from, observed) {
                    rest.push(Step::Rename { from: parked.to_string(), to });
                    aside.push(Step::Rename { from, to: parked });
                }
            }
            other => rest.push(other),
        }
    }
    aside.extend(rest);
    aside
}

/// A free name made of the interface's index.
fn parking(name: &str, observed: &Observed) -> Option<LinkName> {
    let index = observed.links.get(name)?.index;
    format!("aside-{index}").parse().ok()
}
