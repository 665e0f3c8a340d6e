//! What is wrong with a set of rules, as far as two values are needed to judge: pure, all findings at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sluice_api::Finding;

use super::balancer::{Balancer, Member, Mode, Tls};
use super::stickiness::{CookieMode, LbCookie, Stickiness};

/// Everything wrong with `balancers`, in their order; paths begin with `balancers[N]`.
pub fn check(balancers: &[Balancer]) -> Vec<Finding> {
    let mut findings = Vec::new();
    unique(balancers, &mut findings);
    for (number, balancer) in balancers.iter().enumerate() {
        let mut scope = Scope { path: format!("balancers[{number}]"), findings: &mut findings };
        one(balancer, &mut scope);
    }
    findings
}

struct Scope<'a> {
    path: String,
    findings: &'a mut Vec<Finding>,
}

impl Scope<'_> {
    fn error(&mut self, field: &str, code: &str, reason: impl Into<String>) {
        self.findings.push(Finding::error(format!("{}.{field}", self.path), code, reason));
    }
}

fn unique(balancers: &[Balancer], findings: &mut Vec<Finding>) {
    let mut ids = BTreeMap::new();
    let mut places = BTreeMap::new();
    for (number, balancer) in balancers.iter().enumerate() {
        if let Some(first) = ids.insert(&balancer.id, number) {
            let reason = format!("id {} is already used at balancers[{first}]", balancer.id);
            let path = format!("balancers[{number}].id");
            findings.push(Finding::error(path, "balancer-duplicate-id", reason));
        }
        let place = (balancer.address, balancer.port, balancer.mode == Mode::Udp);
        if let Some(first) = places.insert(place, number) {
            let reason = format!(
                "{} port {} is already balanced by balancers[{first}]",
                balancer.address, balancer.port
            );
            let path = format!("balancers[{number}].port");
            findings.push(Finding::error(path, "balancer-duplicate-port", reason));
        }
    }
}

fn one(balancer: &Balancer, scope: &mut Scope<'_>) {
    if !can_listen(balancer.address) {
        let reason = format!("{} is not an address to listen on", balancer.address);
        scope.error("address", "balancer-address", reason);
    }
    if let Some(tls) = &balancer.tls {
        check_tls(balancer.mode, tls, scope);
    }
    if balancer.mode == Mode::Udp && balancer.proxy_protocol.is_some() {
        let reason = "the PROXY protocol needs connections, and this rule is for UDP";
        scope.error("proxy_protocol", "balancer-mode", reason);
    }
    if let Some(stickiness) = &balancer.stickiness {
        check_stickiness(balancer.mode, stickiness, scope);
    }
    check_members(balancer, scope);
}

fn can_listen(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

fn check_tls(mode: Mode, tls: &Tls, scope: &mut Scope<'_>) {
    if mode == Mode::Udp {
        scope.error("tls", "balancer-mode", "TLS needs connections, and this rule is for UDP");
    }
    if tls.certificates.is_empty() {
        let reason = "TLS needs at least one certificate";
        scope.error("tls.certificates", "balancer-certificates", reason);
    }
}

fn check_stickiness(mode: Mode, stickiness: &Stickiness, scope: &mut Scope<'_>) {
    if stickiness.needs_http() && mode != Mode::Http {
        let reason = "cookies are seen in HTTP only, and this rule's mode is not http";
        scope.error("stickiness", "stickiness-mode", reason);
    }
    if let Stickiness::LbCookie(cookie) = stickiness {
        check_cookie(cookie, scope);
    }
}

fn check_cookie(cookie: &LbCookie, scope: &mut Scope<'_>) {
    if cookie.mode == CookieMode::Insert {
        return;
    }
    for (set, field) in [
        (cookie.indirect, "indirect"),
        (cookie.postonly, "postonly"),
        (!cookie.domains.is_empty(), "domains"),
    ] {
        if set {
            let reason = format!("{field} is for the mode insert, where the cookie is ours");
            scope.error(&format!("stickiness.{field}"), "stickiness-parameter", reason);
        }
    }
}

fn check_members(balancer: &Balancer, scope: &mut Scope<'_>) {
    let mut ids = BTreeSet::new();
    let mut endpoints = BTreeSet::new();
    for (number, member) in balancer.members.iter().enumerate() {
        let field = |name: &str| format!("members[{number}].{name}");
        if !ids.insert(&member.id) {
            let reason = format!("id {} is used by another member of the rule", member.id);
            scope.error(&field("id"), "member-duplicate-id", reason);
        }
        if !endpoints.insert(member.endpoint()) {
            let reason = format!("{} is another member of the rule already", member.endpoint());
            scope.error(&field("address"), "member-duplicate", reason);
        }
        if let Some(reason) = unusable(balancer, member) {
            scope.error(&field("address"), "member-address", reason);
        }
    }
}

fn unusable(balancer: &Balancer, member: &Member) -> Option<String> {
    if !can_listen(member.address) {
        return Some(format!("{} is not an address to connect to", member.address));
    }
    if member.address == balancer.address && member.port == balancer.port {
        return Some("is the rule's own address and port, which would be a loop".to_owned());
    }
    None
}
