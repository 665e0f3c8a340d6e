//! A kernel in memory with NICs for the states of the tests, and objects of somebody else's.
//!
//! Routes of other protocols need no place here: an observation has no room for them, by its type.

use futures_util::FutureExt;
use proptest::test_runner::TestCaseError;
use sluice_agent::plan::plan;
use sluice_api::types::{InterfaceAddress, LinkName, MacAddr};
use sluice_sys::kernel::{FakeKernel, Kernel};
use sluice_sys::model::{Desired, Observed, ObservedLink, Step};
use sluice_sys::nft::{Family, Ident, ObservedTable, TableId, early};

use crate::states::{NICS, sluice};

/// A NIC and a VLAN on it that nobody configured.
const FOREIGN: [&str; 2] = ["lan9", "lan9-5"];

pub(crate) struct World(FakeKernel);

pub(crate) fn mac(number: u8) -> MacAddr {
    MacAddr::from_bytes([2, 0, 0, 0, 0, number]).unwrap()
}

fn foreign_table() -> TableId {
    TableId { family: Family::Inet, name: Ident::fixed("foreign") }
}

fn foreign_link(index: u32, vlan: Option<(String, u64)>) -> ObservedLink {
    ObservedLink {
        index,
        mac: Some(mac(99)),
        permanent_mac: vlan.is_none().then(|| mac(99)),
        vlan: vlan.map(|(trunk, id)| (trunk, id.try_into().unwrap())),
        mtu: 1500,
        up: true,
        carrier: true,
        ours: false,
        altnames: std::collections::BTreeSet::new(),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let kernel = FakeKernel::with_nics((1..=NICS).map(mac));
        kernel
            .edit(|seen| {
                let [nic, vlan] = FOREIGN.map(str::to_owned);
                // the address of one of ours too: what counts is whose the link is
                for (name, address) in [(&nic, "192.168.9.1/24"), (&vlan, "10.1.1.1/24")] {
                    seen.addresses.insert((name.clone(), address.parse().unwrap()));
                }
                seen.links.insert(vlan, foreign_link(91, Some((nic.clone(), 100))));
                seen.links.insert(nic, foreign_link(90, None));
                seen.tables.insert(foreign_table(), ObservedTable::default().into());
            })
            .unwrap();
        Self(kernel)
    }

    /// What the engine would see.
    pub(crate) fn observe(&self, wanted: &Desired) -> Observed {
        let keys = wanted.keys([early::table_id(), sluice()]);
        self.0.observe(&keys).now_or_never().unwrap().unwrap()
    }

    /// Applies one plan; after it there must be nothing to do.
    pub(crate) fn reach(&self, wanted: &Desired) -> Result<Vec<Step>, TestCaseError> {
        let steps = plan(wanted, &self.observe(wanted)).steps;
        for step in &steps {
            let done = self.0.apply(step).now_or_never().unwrap();
            if let Err(error) = done {
                let text = format!("`{step}` of {steps:#?}: {error:?}\n{}", self.0);
                return Err(TestCaseError::fail(text));
            }
        }
        let rest = plan(wanted, &self.observe(wanted));
        if rest.is_empty() {
            return Ok(steps);
        }
        Err(TestCaseError::fail(format!("left to do:\n{rest}after {steps:#?}\n{}", self.0)))
    }

    /// All that is not ours.
    pub(crate) fn foreign(&self) -> String {
        let mut seen = self.0.state();
        seen.links.retain(|name, _| FOREIGN.contains(&name.as_str()));
        seen.addresses.retain(|(link, _)| FOREIGN.contains(&link.as_str()));
        seen.tables.retain(|id, _| *id == foreign_table());
        format!("{:#?}\n{:#?}\n{:#?}", seen.links, seen.addresses, seen.tables)
    }
}

/// Everything that `wanted` decides, without the kernel's own numbers.
pub(crate) fn own(world: &World, wanted: &Desired) -> Observed {
    let mut seen = world.observe(wanted);
    let ours =
        |name: &str| name.parse().is_ok_and(|name: LinkName| wanted.links.contains_key(&name));
    seen.links.retain(|name, _| ours(name));
    seen.links.values_mut().for_each(|link| link.index = 0);
    let address = |(link, _): &(String, InterfaceAddress)| ours(link);
    seen.addresses.retain(address);
    seen.nft_generation = 0;
    seen
}

pub(crate) fn names_foreign(step: &Step) -> bool {
    let text = format!("{step:?}");
    FOREIGN.iter().any(|name| text.contains(&format!("\"{name}\""))) || text.contains("foreign")
}
