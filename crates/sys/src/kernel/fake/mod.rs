//! A kernel in memory, or in one file.
//!
//! Guarantees: answers to each step as Linux does (what is missing, what exists already, what goes along with what goes),
//! so a plan that works here in the wrong order would not work there either. With a file, the state is on disk whenever
//! an operation has returned, so that a killed process finds it again. Does not: forward packets.

mod links;
mod policy;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sluice_api::types::{InterfaceAddress, MacAddr};
use tokio::sync::mpsc;

use super::{Changes, Kernel, KernelError, Object, Wake};
use crate::conntrack::TrackingCounts;
use crate::model::{Keys, Observed, ObservedLink, Pulse, Step, SysctlKey};
use crate::nft::eval::Flow;
use crate::nft::{Count, Counters, ObservedRule, Script, TableId};

/// Sizes of neighbour tables as Linux has them at first; other settings are there once they were set.
const NEIGHBOURS: [(&str, &str); 6] = [
    ("net.ipv4.neigh.default.gc_thresh1", "128"),
    ("net.ipv4.neigh.default.gc_thresh2", "512"),
    ("net.ipv4.neigh.default.gc_thresh3", "1024"),
    ("net.ipv6.neigh.default.gc_thresh1", "128"),
    ("net.ipv6.neigh.default.gc_thresh2", "512"),
    ("net.ipv6.neigh.default.gc_thresh3", "1024"),
];

/// What a fake kernel holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) seen: Observed,
    pub(super) last_index: u32,
    /// IPv4 addresses that stand behind another one of the same network on their link.
    #[serde(default)]
    pub(super) secondary: BTreeSet<(String, InterfaceAddress)>,
    /// Connections that a test says are tracked.
    #[serde(default)]
    pub(super) flows: Vec<Flow>,
}

/// The kernel in memory; clone nothing, share it by reference.
#[derive(Debug, Default)]
pub struct FakeKernel {
    state: Mutex<State>,
    file: Option<PathBuf>,
    listeners: Mutex<Vec<mpsc::Sender<Wake>>>,
}

impl FakeKernel {
    /// A machine with these NICs, named `eth0`, `eth1` and so on, all down.
    pub fn with_nics(macs: impl IntoIterator<Item = MacAddr>) -> Self {
        let mut state = State::default();
        for (number, mac) in macs.into_iter().enumerate() {
            state.add_nic(&format!("eth{number}"), mac);
        }
        state
            .seen
            .sysctls
            .extend(NEIGHBOURS.map(|(key, value)| (SysctlKey::fixed(key), value.to_owned())));
        Self { state: Mutex::new(state), ..Self::default() }
    }

    /// The machine kept in `file`; if there is no such file, `self`, which is kept there from now on.
    ///
    /// Errors: a file that cannot be read or written, or holds something else.
    pub fn kept_in(mut self, file: &Path) -> io::Result<Self> {
        match fs::read(file) {
            Ok(bytes) => self.state = Mutex::new(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.file = Some(file.to_owned());
        self.keep(&self.lock())?;
        Ok(self)
    }

    /// Everything it holds.
    pub fn state(&self) -> Observed {
        self.lock().seen.clone()
    }

    /// Changes its state behind everybody's back, and wakes who listens: a foreign hand in a test.
    pub fn edit(&self, change: impl FnOnce(&mut Observed)) -> io::Result<()> {
        let mut state = self.lock();
        change(&mut state.seen);
        state.seen.nft_generation += 1;
        self.keep(&state)?;
        for wake in [Wake::Links, Wake::Addresses, Wake::Routes, Wake::Rules] {
            self.wake(wake);
        }
        Ok(())
    }

    /// Lets these connections be tracked: what packets would have done.
    pub fn track(&self, flows: impl IntoIterator<Item = Flow>) -> io::Result<()> {
        let mut state = self.lock();
        state.flows.extend(flows);
        self.keep(&state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // a test that panicked elsewhere leaves the state as it was before its operation
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, state: &State) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let next = file.with_extension("next");
        fs::write(&next, serde_json::to_vec_pretty(state)?)?;
        // the old or the new state, whole, whenever the process ends; power cuts are not this file's concern
        fs::rename(&next, file)
    }

    fn wake(&self, wake: Wake) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| !listener.is_closed());
        for listener in listeners.iter() {
            // a full queue has wake-ups enough
            let _full = listener.try_send(wake);
        }
    }
}

impl State {
    pub(super) fn next_index(&mut self) -> u32 {
        self.last_index += 1;
        // the kernel's first index is loopback's
        self.last_index + 1
    }

    fn add_nic(&mut self, name: &str, mac: MacAddr) {
        let index = self.next_index();
        let link = ObservedLink {
            index,
            mac: Some(mac),
            permanent_mac: Some(mac),
            vlan: None,
            mtu: 1500,
            up: false,
            carrier: false,
            ours: false,
            altnames: std::collections::BTreeSet::new(),
        };
        self.seen.links.insert(name.to_owned(), link);
    }

    fn apply(&mut self, step: &Step) -> Result<Wake, i32> {
        match step {
            Step::AddRoute(route) => self.add_route(route).map(|()| Wake::Routes),
            Step::ChangeRoute { from, to } => self.change_route(from, to).map(|()| Wake::Routes),
            Step::AddPolicy(rule) => self.add_policy(rule).map(|()| Wake::Routes),
            Step::RemovePolicy(rule) => {
                self.seen.policy_rules.remove(rule);
                Ok(Wake::Routes)
            }
            Step::RemoveRoute(route) => {
                self.seen.routes.remove(route);
                Ok(Wake::Routes)
            }
            Step::SetSysctl { key, to, .. } => {
                self.seen.sysctls.insert(key.clone(), to.clone());
                Ok(Wake::Links)
            }
            Step::AddAddress { link, address } => {
                self.add_address(link.as_str(), *address).map(|()| Wake::Addresses)
            }
            Step::RemoveAddress { link, address } => {
                self.remove_address(link, *address);
                Ok(Wake::Addresses)
            }
            // the caller's: it has an error of its own
            Step::Rules(_) => Ok(Wake::Rules),
            _ => self.change_link(step).map(|()| Wake::Links),
        }
    }

    fn rules(&mut self, script: &Script) -> Result<(), KernelError> {
        let refused = |error: crate::nft::Refused| KernelError::Nft { said: error.to_string() };
        script.apply_to(&mut self.seen.tables).map_err(refused)?;
        self.seen.nft_generation += 1;
        Ok(())
    }
}

/// The kernel's refusal of a step.
fn refused(step: &Step, errno: i32) -> KernelError {
    let source = io::Error::from_raw_os_error(errno);
    KernelError::Refused { action: "change", object: Object::of(step), source }
}

#[async_trait]
impl Kernel for FakeKernel {
    async fn observe(&self, keys: &Keys) -> Result<Observed, KernelError> {
        let mut seen = self.state();
        seen.tables.retain(|id, _| keys.tables.contains(id));
        seen.sysctls.retain(|key, _| keys.sysctls.contains(key));
        Ok(seen)
    }

    async fn pulse(&self, sysctls: &BTreeSet<SysctlKey>) -> Result<Pulse, KernelError> {
        let seen = self.state();
        let mut settings = seen.sysctls;
        settings.retain(|key, _| sysctls.contains(key));
        Ok(Pulse { nft_generation: seen.nft_generation, sysctls: settings })
    }

    async fn check(&self, script: &Script) -> Result<(), KernelError> {
        self.lock().clone().rules(script)
    }

    async fn apply(&self, step: &Step) -> Result<(), KernelError> {
        let mut state = self.lock();
        let mut next = state.clone();
        let wake = match step {
            Step::Rules(script) => next.rules(script).map(|()| Wake::Rules)?,
            _ => next.apply(step).map_err(|errno| refused(step, errno))?,
        };
        let kept = self.keep(&next);
        let action = "keep the state after a change to";
        kept.map_err(|source| KernelError::Refused { action, object: Object::of(step), source })?;
        *state = next;
        self.wake(wake);
        Ok(())
    }

    fn changes(&self) -> Result<Changes, KernelError> {
        let (sender, changes) = Changes::channel();
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Ok(changes)
    }

    async fn counters(&self, table: &TableId) -> Result<Counters, KernelError> {
        let seen = self.state();
        let chains = seen.tables.get(table).map(|table| table.chains.clone()).unwrap_or_default();
        let all =
            || chains.iter().flat_map(|(name, chain)| chain.rules.iter().map(move |r| (name, r)));
        let zero = Count::default();
        let rules = all().map(|(chain, rule)| ((chain.clone(), rule.id.clone()), zero)).collect();
        let each = |rule: &ObservedRule| (rule.id.clone(), rule.handle.unwrap_or_default());
        let each = all().map(|(_, rule)| (each(rule), zero)).collect();
        Ok(Counters { rules, each, ..Counters::default() })
    }

    async fn rule_counters(&self, table: &TableId) -> Result<Counters, KernelError> {
        let each = self.counters(table).await?.each;
        Ok(Counters { each, ..Counters::default() })
    }

    async fn leaving(&self, _: &Script, _: &TableId) -> Result<Counters, KernelError> {
        Ok(Counters::default())
    }

    async fn flows(&self) -> Result<Vec<Flow>, KernelError> {
        Ok(self.lock().flows.clone())
    }

    async fn end(&self, flow: &Flow) -> Result<(), KernelError> {
        let mut state = self.lock();
        let mut next = state.clone();
        next.flows.retain(|is| is.original != flow.original || is.id != flow.id);
        let object = Object::All("the tracked connections");
        self.keep(&next).map_err(|source| KernelError::Refused {
            action: "keep",
            object,
            source,
        })?;
        *state = next;
        Ok(())
    }

    async fn tracking(&self) -> Result<TrackingCounts, KernelError> {
        let entries = u32::try_from(self.lock().flows.len()).unwrap_or(u32::MAX);
        Ok(TrackingCounts { entries, limit: 262_144, ..TrackingCounts::default() })
    }
}

impl fmt::Display for FakeKernel {
    /// The whole state, an object a line, for failing tests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.state();
        for (name, link) in &seen.links {
            writeln!(f, "link {name}: {link:?}")?;
        }
        for (link, address) in &seen.addresses {
            writeln!(f, "address {address} on {link}")?;
        }
        seen.routes.iter().try_for_each(|route| writeln!(f, "route {route}"))?;
        seen.policy_rules.iter().try_for_each(|rule| writeln!(f, "policy rule {rule}"))?;
        seen.sysctls.iter().try_for_each(|(key, value)| writeln!(f, "sysctl {key} {value}"))?;
        for (id, table) in &seen.tables {
            writeln!(f, "table {id}")?;
            for (name, chain) in &table.chains {
                writeln!(f, "  chain {name} {:?}", chain.hook)?;
                let mut rules = chain.rules.iter();
                rules.try_for_each(|rule| writeln!(f, "    {} {}", rule.id, rule.text))?;
            }
            for (name, set) in &table.sets {
                writeln!(f, "  set {name} {:?}", set.types)?;
                let mut elements = set.elements.iter();
                elements.try_for_each(|(key, entry)| writeln!(f, "    {key} : {}", entry.value))?;
            }
        }
        writeln!(f, "generation {}", seen.nft_generation)
    }
}
