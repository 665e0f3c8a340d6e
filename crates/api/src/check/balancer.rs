//! Load balancing rules: each for itself, against each other, and against what else the router does with its addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::Scope;
use crate::Finding;
use crate::config::balancer::{
    Algorithm, Balancer, Check, CookieMode, LbCookie, Member, Mode, Stickiness, Tls,
};
use crate::config::{ForwardProtocol, GuestNetwork, LinkRole, PortForward, RouterConfig};
use crate::types::{Cidr, ObjectId, Port};

/// Most rules, and most members of one rule.
const MAX_RULES: usize = 4096;
const MAX_MEMBERS: usize = 1024;

pub(super) fn check(scope: &mut Scope<'_>, router: &RouterConfig) {
    scope.adopt(alone(&router.balancers));
    if router.balancers.len() > MAX_RULES {
        return;
    }
    let known = Known::new(scope, router);
    for (number, balancer) in router.balancers.iter().enumerate() {
        let at = format!("balancers[{number}]");
        known.address(scope, &at, balancer);
        known.taken(scope, &at, balancer);
        for (number, member) in balancer.members.iter().enumerate() {
            known.member(scope, &format!("{at}.members[{number}].address"), member);
        }
    }
}

/// What is wrong with these rules wherever they are used; paths begin with `balancers[N]`.
pub fn alone(balancers: &[Balancer]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if balancers.len() > MAX_RULES {
        let reason = format!("{} rules are more than {MAX_RULES}", balancers.len());
        return vec![Finding::error("balancers", "too-many", reason)];
    }
    unique(balancers, &mut findings);
    for (number, balancer) in balancers.iter().enumerate() {
        let at = format!("balancers[{number}]");
        one(balancer, &mut At { path: at, findings: &mut findings });
    }
    findings
}

/// Findings of one rule.
struct At<'a> {
    path: String,
    findings: &'a mut Vec<Finding>,
}

impl At<'_> {
    fn error(&mut self, field: &str, code: &str, reason: impl Into<String>) {
        self.findings.push(Finding::error(format!("{}.{field}", self.path), code, reason));
    }

    fn warning(&mut self, field: &str, code: &str, reason: impl Into<String>) {
        self.findings.push(Finding::warning(format!("{}.{field}", self.path), code, reason));
    }
}

fn unique(balancers: &[Balancer], findings: &mut Vec<Finding>) {
    let (mut ids, mut places) = (BTreeMap::new(), BTreeMap::new());
    for (number, balancer) in balancers.iter().enumerate() {
        let (id, at) = (&balancer.id, format!("balancers[{number}]"));
        if let Some(first) = ids.insert(id, number) {
            let reason = format!("id {id} is already used at balancers[{first}].id");
            findings.push(Finding::error(format!("{at}.id"), "duplicate-id", reason));
        }
        let (address, port) = (balancer.address, balancer.port);
        if let Some(first) = places.insert((address, port, balancer.is_in_kernel()), number) {
            let first = balancers.get(first).map_or("another", |rule| rule.id.as_str());
            let reason = format!("port {port} of {address} is already balanced by {first}");
            findings.push(Finding::error(format!("{at}.port"), "port-in-use", reason));
        }
    }
}

fn one(balancer: &Balancer, at: &mut At<'_>) {
    if !is_host(balancer.address) {
        let reason = format!("{} is not an address to listen on", balancer.address);
        at.error("address", "balancer-address", reason);
    }
    if let Some(tls) = &balancer.tls {
        check_tls(balancer.mode, tls, at);
    }
    if balancer.mode == Mode::Udp && balancer.proxy_protocol.is_some() {
        let reason = "the PROXY protocol needs connections, and this rule is for UDP";
        at.error("proxy_protocol", "balancer-mode", reason);
    }
    if balancer.mode != Mode::Udp && balancer.health.check == Some(Check::Udp) {
        let reason = "a datagram says nothing of members that serve connections";
        at.error("health.check", "balancer-mode", reason);
    }
    if let Some(stickiness) = &balancer.stickiness {
        check_stickiness(balancer.mode, stickiness, at);
    }
    remarks(balancer, at);
    families(balancer, at);
    members(balancer, at);
}

/// What routers took before it was looked at: one that has it keeps it, and the manager refuses it of those who ask for it.
fn remarks(balancer: &Balancer, at: &mut At<'_>) {
    let id = &balancer.id;
    if balancer.mode == Mode::Udp && balancer.algorithm == Algorithm::LeastConnections {
        let reason =
            format!("{id} balances UDP, of which the kernel counts nothing: members take turns");
        at.warning("algorithm", "balancer-algorithm", reason);
    }
    let (word, asked) = match &balancer.health.check {
        Some(Check::Http(asked)) => ("http", asked),
        Some(Check::Https(asked)) => ("https", asked),
        _ => return,
    };
    let (from, to) = (asked.status_from.get(), asked.status_to.get());
    if from > to {
        let reason = format!("no answer is good for {id}: {from} is above status_to {to}");
        at.warning(&format!("health.check.{word}.status_from"), "balancer-check", reason);
    }
}

/// Neither unspecified, nor a group, nor everyone.
fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

fn check_tls(mode: Mode, tls: &Tls, at: &mut At<'_>) {
    if mode == Mode::Udp {
        at.error("tls", "balancer-mode", "TLS needs connections, and this rule is for UDP");
    }
    if tls.certificates.is_empty() {
        let reason = "TLS needs at least one certificate";
        at.error("tls.certificates", "balancer-certificates", reason);
    }
}

fn check_stickiness(mode: Mode, stickiness: &Stickiness, at: &mut At<'_>) {
    if mode == Mode::Udp {
        let reason = "clients of a UDP rule are bound by its algorithm: source";
        at.error("stickiness", "stickiness-mode", reason);
    } else if stickiness.needs_http() && mode != Mode::Http {
        let reason = "cookies are seen in HTTP only, and this rule's mode is not http";
        at.error("stickiness", "stickiness-mode", reason);
    }
    if let Stickiness::LbCookie(cookie) = stickiness {
        check_cookie(cookie, at);
    }
}

fn check_cookie(cookie: &LbCookie, at: &mut At<'_>) {
    if cookie.mode == CookieMode::Insert {
        return;
    }
    for (set, field) in [
        (cookie.indirect, "indirect"),
        (cookie.nocache, "nocache"),
        (cookie.postonly, "postonly"),
        (!cookie.domains.is_empty(), "domains"),
    ] {
        if set {
            let reason = format!("{field} goes with the mode insert, where the cookie is ours");
            at.error(&format!("stickiness.lb-cookie.{field}"), "stickiness-parameter", reason);
        }
    }
}

fn families(balancer: &Balancer, at: &mut At<'_>) {
    for (number, source) in balancer.sources.iter().enumerate() {
        if source.is_ipv4() != balancer.address.is_ipv4() {
            let reason = format!("{source} is not of the family of {}", balancer.address);
            at.error(&format!("sources[{number}]"), "family", reason);
        }
    }
}

fn members(balancer: &Balancer, at: &mut At<'_>) {
    if balancer.members.len() > MAX_MEMBERS {
        let reason = format!("{} members are more than {MAX_MEMBERS}", balancer.members.len());
        return at.error("members", "too-many", reason);
    }
    let (mut ids, mut endpoints) = (BTreeSet::new(), BTreeSet::new());
    for (number, member) in balancer.members.iter().enumerate() {
        let field = |name: &str| format!("members[{number}].{name}");
        if !ids.insert(&member.id) {
            let reason = format!("id {} is another member's of the rule", member.id);
            at.error(&field("id"), "duplicate-member", reason);
        }
        let endpoint = member.endpoint();
        if !endpoints.insert(endpoint) {
            let reason = format!("{endpoint} is another member of the rule already");
            at.error(&field("address"), "duplicate-member", reason);
        }
        if let Some(reason) = unusable(balancer, member) {
            at.error(&field("address"), "member-address", reason);
        }
    }
}

fn unusable(balancer: &Balancer, member: &Member) -> Option<String> {
    if !is_host(member.address) {
        return Some(format!("{} is not an address to connect to", member.address));
    }
    let itself = member.address == balancer.address && member.port == balancer.port;
    itself.then(|| format!("{} is the rule itself: it would be a loop", member.endpoint()))
}

/// What the router does with its addresses.
struct Known<'a> {
    /// Of all links but the control link.
    own: BTreeSet<IpAddr>,
    guest: BTreeSet<IpAddr>,
    public: BTreeSet<Ipv4Addr>,
    static_nat: BTreeMap<Ipv4Addr, &'a ObjectId>,
    networks: &'a [GuestNetwork],
    forwards: &'a [PortForward],
}

impl<'a> Known<'a> {
    fn new(scope: &Scope<'_>, router: &'a RouterConfig) -> Self {
        let of = |wanted: fn(LinkRole) -> bool| {
            let links = scope.all_links.iter().filter(move |link| wanted(link.role));
            links.flat_map(|link| link.addresses.iter().map(crate::types::InterfaceAddress::ip))
        };
        Self {
            own: of(|role| role != LinkRole::Control).collect(),
            guest: of(|role| role == LinkRole::Guest).collect(),
            public: router.public_addresses.iter().map(|it| it.address).collect(),
            static_nat: router.static_nat.iter().map(|it| (it.public, &it.id)).collect(),
            networks: &router.networks,
            forwards: &router.port_forwards,
        }
    }

    /// A public address, or an address of the router in a tier that is not its gateway, where its own services are.
    fn address(&self, scope: &mut Scope<'_>, at: &str, balancer: &Balancer) {
        let address = balancer.address;
        let public = matches!(address, IpAddr::V4(address) if self.public.contains(&address));
        let gateway = self.networks.iter().any(|network| network.gateway_ip() == address);
        let reason = if gateway {
            format!("{address} is a network's gateway, where the router's own services are")
        } else if public || self.guest.contains(&address) || !is_host(address) {
            return;
        } else {
            format!("{address} is neither a public address nor one of the router's in a network")
        };
        scope.error(format!("{at}.address"), "balancer-address", reason);
    }

    /// What comes to the address must not be translated away before it gets to the rule.
    fn taken(&self, scope: &mut Scope<'_>, at: &str, balancer: &Balancer) {
        let IpAddr::V4(address) = balancer.address else { return };
        if let Some(by) = self.static_nat.get(&address) {
            let reason = format!("{address} is used by static NAT {by}");
            scope.error(format!("{at}.address"), "address-in-use", reason);
        }
        let protocol =
            if balancer.is_in_kernel() { ForwardProtocol::Udp } else { ForwardProtocol::Tcp };
        let port = |port: Port| crate::types::PortRange::one(port);
        let by = self.forwards.iter().find(|it| {
            it.public == address
                && it.protocol == protocol
                && it.ports.overlaps(port(balancer.port))
        });
        if let Some(by) = by {
            let reason = format!("port {} is taken by port forward {}", balancer.port, by.id);
            scope.error(format!("{at}.port"), "port-in-use", reason);
        }
    }

    fn member(&self, scope: &mut Scope<'_>, path: &str, member: &Member) {
        let address = member.address;
        let inside = |cidr: &Cidr| cidr.usable_for_host(address);
        let reason = if self.own.contains(&address) {
            format!("{address} is the router itself: it would be a loop")
        } else if self.networks.iter().any(|network| network.spans().any(|(cidr, _)| inside(&cidr)))
            || !is_host(address)
        {
            return;
        } else {
            format!("{address} is not a host address of any network of the router")
        };
        scope.error(path, "member-address", reason);
    }
}
