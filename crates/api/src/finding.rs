//! What is wrong, or doubtful, in a document: all of it at once, each with its path.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ApiCode;

/// One remark about a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Where: field names and indices, such as `networks[0].guests[3].mac`. Empty: the document as a whole.
    pub path: String,
    /// Whether it prevents use.
    pub severity: Severity,
    /// The rule, a stable word that programs can match.
    pub code: String,
    /// What is wrong, for a person.
    pub reason: String,
}

/// Whether a finding prevents use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The document is refused.
    Error,
    /// The document is used; a person should look.
    Warning,
}

impl Finding {
    /// An error at `path`.
    pub fn error(path: impl Into<String>, code: &str, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            severity: Severity::Error,
            code: code.to_owned(),
            reason: reason.into(),
        }
    }

    /// A warning at `path`.
    pub fn warning(path: impl Into<String>, code: &str, reason: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, code, reason) }
    }

    /// True when any of `findings` refuses the document.
    pub fn any_error(findings: &[Self]) -> bool {
        findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let path = if self.path.is_empty() { "document" } else { &self.path };
        write!(f, "{severity}: {path}: {} [{}]", self.reason, self.code)
    }
}

/// What `code` means, whether a document or a request to an agent is at fault; `None` for a word that is no code.
pub fn meaning(code: &str) -> Option<&'static str> {
    let of_document = CODES.iter().find(|(known, _)| *known == code).map(|(_, meaning)| *meaning);
    let of_request = || ApiCode::ALL.iter().find(|known| known.as_str() == code);
    of_document.or_else(|| of_request().map(|known| known.meaning()))
}

/// Every code that decoding and checking can give, with its meaning; `docs/findings.md` is made of it and of [`ApiCode`].
pub const CODES: &[(&str, &str)] = &[
    ("address-in-use", "a public address is wanted for two things that exclude each other"),
    ("algorithm-mismatch", "algorithms of a tunnel do not go together"),
    ("alias-not-alone", "a name has another record beside its alias"),
    ("alias-target", "an alias leads to a name that is not the router's to answer"),
    (
        "balancer-address",
        "a load balancing rule listens on an address that is not the router's to balance",
    ),
    (
        "balancer-algorithm",
        "a load balancing rule's algorithm is not what its mode can do (warning)",
    ),
    ("balancer-certificates", "TLS is asked for without a certificate"),
    ("balancer-check", "members are checked such that no answer is good (warning)"),
    ("balancer-mode", "a load balancing rule asks for what its mode cannot do"),
    ("code-without-type", "an ICMP code is given without a type"),
    ("connected-route", "a route would stand in the place of the kernel's own to a link's network"),
    ("console-open", "browsers are served under no name, or unencrypted without a reverse proxy"),
    ("duplicate-address", "an address is given to two links or two guests"),
    ("duplicate-field", "a field is written twice"),
    ("duplicate-guest", "a guest id is used twice"),
    ("duplicate-hostname", "a name is used twice in one network"),
    ("duplicate-id", "an id, or a link that only one may have, is used twice in one list"),
    ("duplicate-link", "a link name is used twice"),
    ("duplicate-mac", "a MAC address is used twice, by links or in one network"),
    ("duplicate-member", "a member is listed twice in one load balancing rule"),
    ("duplicate-network", "a network id or a guest link is used twice"),
    ("duplicate-number", "a number is used twice in an access control list"),
    ("duplicate-option", "a DHCP option is given twice"),
    ("duplicate-place", "two jobs are about the same object of a store"),
    ("duplicate-policy-rule", "two policy rules have the same order"),
    ("duplicate-record", "a record of the name service is given twice"),
    ("duplicate-resolver", "a resolver is listed twice"),
    ("duplicate-route", "a destination has two routes of the same metric"),
    ("duplicate-rule", "a rule says what another says: one of them can be deleted (warning)"),
    ("duplicate-token", "two grants have the same token"),
    ("duplicate-user", "a user of remote access is listed twice"),
    ("duplicate-vlan", "a VLAN of a trunk has two links"),
    (
        "duplicate-vpn",
        "an id, an address, a customer gateway or a way to prove oneself is used twice by tunnels",
    ),
    ("duplicate-zone", "a name is forwarded twice"),
    ("family", "an IPv6 value where IPv4 is needed, or the other way round"),
    (
        "forward-hidden",
        "a forwarded name is in a domain of guests, and so never forwarded (warning)",
    ),
    ("gateway-missing", "the gateway is not an address of the network's link"),
    ("gateway-outside", "the gateway is not a host address of its network"),
    ("helper-denied", "a helper is asked for by a rule that lets nothing pass"),
    ("helper-traffic", "a helper is asked for where its protocol cannot be, or without ports"),
    ("in-place-store", "a file would be taken over where there are no files"),
    ("invalid-value", "a value breaks the rule of its type"),
    ("layout-format", "a layout is asked for that is of another format"),
    ("link-role", "a link is used for something that its role does not allow"),
    ("manager-unreachable", "managers are named that no link or route leads to"),
    (
        "member-address",
        "a member of a load balancing rule is the router itself, or in no network of it",
    ),
    ("missing-field", "a field that must be given is absent"),
    ("mtu", "a VLAN's MTU is larger than its trunk's"),
    ("network-mismatch", "the network is not that of the link's address"),
    ("no-address", "the control link has no address"),
    (
        "no-ipv6",
        "a rule is about IPv6 of a network that has none, or a probe by IPv6 of an uplink that has none",
    ),
    ("no-network", "a tunnel or remote access has no network"),
    (
        "not-own-address",
        "source NAT, a tunnel or a listener uses an address that the link does not have",
    ),
    (
        "obsolete-algorithm",
        "a tunnel uses an algorithm that can be broken (warning where that is allowed)",
    ),
    ("option-kept", "a DHCP option is given that the server makes itself"),
    (
        "option-times",
        "DHCP's times of renewal and rebinding and the end of the lease are not in this order (warning)",
    ),
    ("option-value", "a DHCP option has a value of another form than its number"),
    ("options-too-long", "not all clients can take all DHCP options (warning)"),
    ("outside-network", "an address of a guest or a pool is not a host address of its network"),
    ("outside-vpc", "a tier is not inside the VPC's super CIDR"),
    (
        "overlap",
        "networks of two links, ranges of one network, networks of tunnels or of clients, or ports of two forwards, overlap",
    ),
    ("own-address", "a next hop or a tunnel's peer is the router itself"),
    ("parent", "an image has a parent that it cannot have"),
    ("peer-checksum", "what comes from another appliance has no checksum to be compared with"),
    ("port-in-use", "a public port is wanted by two rules"),
    (
        "public-network",
        "a VPC's super CIDR or a network behind a peer is not of RFC 1918 (warning)",
    ),
    ("ranges-of-a-tier", "a tier of a VPC has further ranges of addresses"),
    (
        "read-only-store",
        "a job would change, or images be put together on, a store that is only read",
    ),
    ("reserved-address", "a link has the address of the metadata service"),
    ("reserved-name", "a guest has a name that the router answers for itself"),
    ("resolver-loop", "a resolver is the router itself"),
    ("router-name", "a guest has the router's name (warning)"),
    ("same-place", "an object would be copied onto itself"),
    ("screen-unreachable", "nothing is allowed by which a screen could be reached and trusted"),
    ("staging-store", "an object store would stand in front of another"),
    (
        "shadowed-rule",
        "another rule has everything that a rule is about and does the same (warning)",
    ),
    ("stickiness-mode", "cookies are asked for where no requests are seen"),
    ("stickiness-parameter", "a parameter of a cookie does not go with its mode"),
    ("syntax", "the document is not JSON"),
    ("tls-without-resolvers", "terms of TLS stand where there are no resolvers"),
    ("too-many", "a list is longer than its limit"),
    ("trunk-address", "a trunk has an address"),
    ("unknown-acl", "an access control list is named that does not exist"),
    ("unknown-field", "a field is not part of the format"),
    ("unknown-job", "a grant is for an upload that no job waits for"),
    ("unknown-link", "a link is named that does not exist"),
    ("unknown-network", "a network is named that does not exist"),
    ("unknown-public-address", "an address is named that is not one of the public addresses"),
    ("unknown-screen", "a console grant names a VM that has no screen"),
    ("unknown-store", "a store is named that does not exist"),
    ("unreachable", "a next hop is in no network of its link"),
    ("unreachable-rule", "a rule is never asked, or nobody can use a forward (warning)"),
    ("vpc-only-acl", "a VPC has firewall rules"),
];
