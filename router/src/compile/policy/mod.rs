//! Who may reach whom: public addresses, firewall, egress rules, access control lists.
//!
//! Guarantees: a router without any of it has the same chains; what is added are maps' elements and chains of their own that a map
//! jumps to, so the cost of a change is that of the rule changed.

mod acl;
mod balance;
mod firewall;
mod helpers;
mod ipv6;
mod nat;
mod sources;
mod traffic;

use sluice_agent::fragment::Fragment;
use sluice_api::{Digest, RouterDocument};
use sluice_sys::nft::{Ident, RuleId};

pub(super) use traffic::l4;

use super::forwards::{Entries, Four};
use super::skeleton::Slot;
use super::words;

/// With the elements that its `forwards` are.
pub(super) fn fragment(config: &RouterDocument, forwards: &Four<Entries>) -> Fragment<Slot> {
    let mut policy = Fragment::new("policy");
    nat::add(&mut policy, config, forwards);
    // before the firewall and the lists, since a rule's own list of sources comes first
    balance::add(&mut policy, config);
    sources::add(&mut policy, config);
    match &config.role.vpc {
        Some(vpc) => acl::add(&mut policy, config, vpc),
        None => firewall::add(&mut policy, config),
    }
    helpers::add(&mut policy, config);
    ipv6::add(&mut policy, config);
    policy
}

/// A name of at most 31 characters for an object whose own may have 63: the prefix and 16 digits of a digest.
fn short(prefix: &str, id: &str) -> Option<Ident> {
    let digest = Digest::of_bytes(id.as_bytes());
    Ident::try_from(format!("{prefix}-{}", digest.as_str().get(..16)?)).ok()
}

/// `acl/LIST/RULE`, cut where a comment has no more room; the counters of two rules that are alike up to there are shown as one.
fn rule_id(prefix: &'static str, list: &str, rule: &str) -> RuleId {
    let text: String = format!("{prefix}/{list}/{rule}").chars().take(120).collect();
    RuleId::try_from(text).unwrap_or_else(|_| RuleId::fixed(prefix))
}
