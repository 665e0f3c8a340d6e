//! NICs get their names, VLANs come and go, sizes and addresses are set.

use std::collections::BTreeSet;

use sluice_api::config::Attachment;
use sluice_api::report::Subsystem;
use sluice_api::types::{LinkName, MacAddr, VlanId};
use sluice_sys::model::{Desired, DesiredLink, IfName, LinkKind, Observed, ObservedLink, Step};

use super::Plan;

/// Steps in order: VLANs that go, NICs, VLANs that come; a NIC grows before its VLANs do and shrinks after them.
pub(super) fn links(desired: &Desired, observed: &Observed, plan: &mut Plan) -> Vec<Step> {
    let mut steps = gone(desired, observed);
    let (mut nics, mut vlans, mut shrinking) = (Vec::new(), Vec::new(), Vec::new());
    let mut right = 0;
    for (name, wanted) in &desired.links {
        let mut own = Vec::new();
        match &wanted.attach {
            Attachment::Nic { mac } => nic(name, *mac, wanted, observed, &mut own),
            Attachment::Vlan { trunk, id, mac } => {
                vlan(name, &Tag { trunk, id: *id, mac: *mac }, wanted, observed, &mut own);
            }
        }
        right += usize::from(own.is_empty());
        for step in own {
            match (&step, &wanted.attach) {
                (Step::SetMtu { from, to, .. }, Attachment::Nic { .. })
                    if *from > u32::from(to.get()) =>
                {
                    shrinking.push(step);
                }
                (_, Attachment::Nic { .. }) => nics.push(step),
                (_, Attachment::Vlan { .. }) => vlans.push(step),
            }
        }
    }
    plan.keep(Subsystem::Links, right);
    steps.extend(untangled(nics, observed));
    steps.extend(vlans);
    steps.extend(shrinking);
    steps
}

/// A VLAN as wanted.
struct Tag<'a> {
    trunk: &'a LinkName,
    id: VlanId,
    mac: Option<MacAddr>,
}

/// Our VLANs that are not wanted, or not in this place; our NICs that are not wanted stop.
fn gone(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, link) in observed.links.iter().filter(|(_, link)| link.ours) {
        let wanted = name.as_link().and_then(|name| desired.links.get(&name));
        match (&link.kind, wanted) {
            (LinkKind::Vlan { parent, id }, wanted) => {
                let right = wanted.is_some_and(|wanted| is_tag(wanted, *parent, *id, observed));
                if !right {
                    steps.push(Step::DeleteVlan { link: name.clone() });
                }
            }
            (_, None) if link.up && !matched(desired, observed, name) => {
                if let Some(link) = name.as_link() {
                    steps.push(Step::SetDown { link });
                }
            }
            _ => {}
        }
    }
    steps
}

/// True when some wanted NIC is this interface, whatever its present name.
fn matched(desired: &Desired, observed: &Observed, name: &IfName) -> bool {
    desired.links.values().any(|wanted| match &wanted.attach {
        Attachment::Nic { mac } => observed.nic(*mac).is_some_and(|(found, _)| found == name),
        Attachment::Vlan { .. } => false,
    })
}

fn is_tag(wanted: &DesiredLink, parent: u32, id: VlanId, observed: &Observed) -> bool {
    match &wanted.attach {
        Attachment::Vlan { trunk, id: tag, .. } => *tag == id && trunk_is(trunk, parent, observed),
        Attachment::Nic { .. } => false,
    }
}

fn trunk_is(trunk: &LinkName, parent: u32, observed: &Observed) -> bool {
    observed.links.get(&IfName::from(trunk)).is_some_and(|link| link.index == parent)
}

fn nic(
    name: &LinkName,
    mac: MacAddr,
    wanted: &DesiredLink,
    observed: &Observed,
    steps: &mut Vec<Step>,
) {
    let Some((present, link)) = observed.nic(mac) else {
        // not there (yet): the name is used as if it were, and the step fails with an error that says so
        steps.push(Step::SetUp { link: name.clone() });
        return;
    };
    let renamed = present.as_str() != name.as_str() || !link.ours;
    if renamed {
        steps.push(Step::RenameLink { from: present.clone(), to: name.clone() });
    }
    size_and_state(name, wanted, link, link.up && !renamed, steps);
}

fn vlan(
    name: &LinkName,
    tag: &Tag<'_>,
    wanted: &DesiredLink,
    observed: &Observed,
    steps: &mut Vec<Step>,
) {
    let present = observed.links.get(&IfName::from(name)).filter(|link| match &link.kind {
        LinkKind::Vlan { parent, id } => *id == tag.id && trunk_is(tag.trunk, *parent, observed),
        _ => false,
    });
    let Some(link) = present else {
        let (link, trunk, mtu) = (name.clone(), tag.trunk.clone(), wanted.mtu);
        steps.push(Step::CreateVlan { link, trunk, id: tag.id, mac: tag.mac, mtu });
        steps.push(Step::SetUp { link: name.clone() });
        return;
    };
    if let Some(to) = tag.mac.filter(|mac| link.mac != Some(*mac)) {
        steps.push(Step::SetMac { link: name.clone(), to });
    }
    size_and_state(name, wanted, link, link.up, steps);
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
    if wanted.up && !up {
        steps.push(Step::SetUp { link: name.clone() });
    }
}

/// A NIC that has the name another one is to get steps aside first.
fn untangled(steps: Vec<Step>, observed: &Observed) -> Vec<Step> {
    let targets: BTreeSet<IfName> = steps
        .iter()
        .filter_map(|step| match step {
            Step::RenameLink { from, to } if from.as_str() != to.as_str() => Some(IfName::from(to)),
            _ => None,
        })
        .collect();
    let mut aside = Vec::new();
    let mut renamed = Vec::new();
    for step in steps {
        match step {
            Step::RenameLink { from, to }
                if targets.contains(&from) && from.as_str() != to.as_str() =>
            {
                let parked = parking(&from, observed);
                if let Some(parked) = parked {
                    renamed.push(Step::RenameLink { from: IfName::from(&parked), to });
                    aside.push(Step::RenameLink { from, to: parked });
                }
            }
            other => renamed.push(other),
        }
    }
    aside.extend(renamed);
    aside
}

/// A free name made of the interface's index.
fn parking(name: &IfName, observed: &Observed) -> Option<LinkName> {
    let index = observed.links.get(name)?.index;
    format!("aside-{index}").parse().ok()
}
