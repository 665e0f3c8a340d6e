//! Rules that need more than one value to judge: pure, and reporting all findings at once.
//!
//! Run by the manager before it pushes and by the appliance before it touches anything; both get the same answer.

pub mod balancer;
mod control;
mod dhcp;
mod dns;
mod guests;
mod links;
mod lint;
mod metadata;
mod networks;
mod policy_rules;
mod proxy;
mod public;
mod router;
mod routes;
mod ssvm;
mod uplinks;
mod vpc;
mod vpn;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::hash::Hash;

use crate::Finding;
use crate::boot::Role;
use crate::config::{ApplianceConfig, Control, Link, Part, Route};
use crate::types::LinkName;

impl<P: Part> ApplianceConfig<P> {
    /// Everything wrong or doubtful in this configuration, sorted by path; empty when it is sound.
    pub fn check(&self) -> Vec<Finding> {
        let mut scope = Scope::new(self);
        control::check(&mut scope);
        links::check(&mut scope);
        routes::check(&mut scope);
        policy_rules::check(&mut scope, &self.policy_rules);
        scope.base = match self.role.role() {
            Role::Router => "role.router.",
            Role::Proxy => "role.proxy.",
            Role::Ssvm => "role.ssvm.",
        };
        self.role.check(&mut scope);
        scope.findings.sort();
        scope.findings
    }

    /// Decodes and checks; the configuration comes back only when no finding is an error.
    pub fn decode(bytes: &[u8]) -> Result<(Self, Vec<Finding>), Vec<Finding>> {
        let config: Self = crate::decode::decode(bytes)?;
        let findings = config.check();
        if Finding::any_error(&findings) { Err(findings) } else { Ok((config, findings)) }
    }
}

/// What the rules share: the head of the configuration, its links by name, the findings so far.
#[derive(Debug)]
pub struct Scope<'a> {
    control: &'a Control,
    all_links: &'a [Link],
    routes: &'a [Route],
    links: BTreeMap<&'a LinkName, &'a Link>,
    /// What comes before every path: where the part that is looked at stands in the document.
    base: &'static str,
    findings: Vec<Finding>,
}

impl<'a> Scope<'a> {
    fn new<P>(config: &'a ApplianceConfig<P>) -> Self {
        Self {
            control: &config.control,
            all_links: &config.links,
            routes: &config.routes,
            links: config.links.iter().map(|link| (&link.name, link)).collect(),
            base: "",
            findings: Vec::new(),
        }
    }

    /// True when something was found that refuses the document.
    fn is_refused(&self) -> bool {
        Finding::any_error(&self.findings)
    }

    fn error(&mut self, path: impl Into<String>, code: &str, reason: impl Into<String>) {
        let path = format!("{}{}", self.base, path.into());
        self.findings.push(Finding::error(path, code, reason));
    }

    fn warning(&mut self, path: impl Into<String>, code: &str, reason: impl Into<String>) {
        let path = format!("{}{}", self.base, path.into());
        self.findings.push(Finding::warning(path, code, reason));
    }

    /// Takes over findings that were made without the document around them.
    fn adopt(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            let path = format!("{}{}", self.base, finding.path);
            self.findings.push(Finding { path, ..finding });
        }
    }

    /// The link called `name`, or a finding at `path`.
    fn link(&mut self, name: &LinkName, path: &str) -> Option<&'a Link> {
        let found = self.links.get(name).copied();
        if found.is_none() {
            self.error(path, "unknown-link", format!("there is no link {name}"));
        }
        found
    }

    /// Reports every value that occurs a second time, naming the place where it came first.
    fn unique<K: Hash + Eq + Display, P: Display>(
        &mut self,
        what: &str,
        code: &str,
        entries: impl IntoIterator<Item = (K, P)>,
    ) {
        let mut seen: HashMap<K, P> = HashMap::new();
        for (key, path) in entries {
            match seen.entry(key) {
                Entry::Occupied(first) => {
                    let (key, first) = (first.key(), first.get());
                    let reason = format!("{what} {key} is already used at {}{first}", self.base);
                    self.error(path.to_string(), code, reason);
                }
                Entry::Vacant(free) => {
                    free.insert(path);
                }
            }
        }
    }
}
