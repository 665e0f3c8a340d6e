//! The table, by hand from the guide.

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// Tier A, no address of its own.
    Vm1,
    /// Tier A, with static NAT on the first uplink.
    Vm2,
    /// Tier B.
    Vm3,
    /// Tier B, with static NAT on the second uplink.
    Vm3Own,
    /// A network behind the private gateway.
    Branch,
    /// The Internet by the first uplink, and by the second.
    Inet,
    Inet2,
}

use Sender::{Branch, Inet, Inet2, Vm1, Vm2, Vm3, Vm3Own};

/// What, from where, to whom, as whom it is seen when the lists allow it (none: never), and the rule that decides when they
/// allow and when they deny (none: no list is asked).
pub(super) type Row = (
    &'static str,
    Sender,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    Option<&'static str>,
);

const A_IN: Option<&str> = Some("acl/acl-a/in");
const B_IN: Option<&str> = Some("acl/acl-b/in");
const B_OUT: Option<&str> = Some("acl/acl-b/out");
const P_IN: Option<&str> = Some("acl/acl-p/in");
const P_OUT: Option<&str> = Some("acl/acl-p/out");
/// Inside addresses are not for the outside: what comes from there has been translated, or is lost.
const UNTRANSLATED: Option<&str> = Some("acl/not-translated");

/// By 11.19.4 what comes into a tier needs an ingress rule of its list, what leaves tier B, whose list has egress rules, needs
/// one of these, and within a tier no rule is asked. By 11.19.5 the private gateway's list judges both ways. By 11.13 a guest
/// with static NAT has its public address outside, and nowhere else.
pub(super) const TABLE: &[Row] = &[
    ("own tier", Vm1, "10.1.1.24:8080", Some("10.1.1.23"), None, None),
    ("other tier", Vm1, "10.1.2.23:8080", Some("10.1.1.23"), B_IN, B_IN),
    ("other tier, the other way", Vm3, "10.1.1.23:8080", Some("10.1.2.23"), A_IN, B_OUT),
    ("tier to private network", Vm1, "172.20.0.1:8080", Some("10.1.1.23"), P_IN, P_IN),
    ("static NAT is for outside", Vm2, "172.20.0.1:8080", Some("10.1.1.24"), P_IN, P_IN),
    ("the same from the other tier", Vm3Own, "172.20.0.1:8080", Some("10.1.2.24"), P_IN, B_OUT),
    ("other tier to private network", Vm3, "172.20.0.1:8080", Some("10.1.2.23"), P_IN, B_OUT),
    ("static NAT is not for other tiers", Vm2, "10.1.2.23:8080", Some("10.1.1.24"), B_IN, B_IN),
    ("nor the other way", Vm3Own, "10.1.1.23:8080", Some("10.1.2.24"), A_IN, B_OUT),
    ("private network to tier", Branch, "10.1.1.23:8080", Some("172.20.0.1"), A_IN, P_OUT),
    (
        "private network to the other tier",
        Branch,
        "10.1.2.23:8080",
        Some("172.20.0.1"),
        B_IN,
        P_OUT,
    ),
    ("source NAT, first uplink", Vm1, "192.0.2.80:8080", Some("198.51.100.10"), None, None),
    ("source NAT, second uplink", Vm3, "192.0.2.90:8080", Some("203.0.113.10"), B_OUT, B_OUT),
    ("static NAT outwards, first", Vm2, "192.0.2.80:8080", Some("198.51.100.12"), None, None),
    ("static NAT outwards, second", Vm3Own, "192.0.2.90:8080", Some("203.0.113.12"), B_OUT, B_OUT),
    ("forward, first uplink", Inet, "198.51.100.11:81", Some("192.0.2.80"), A_IN, A_IN),
    ("forward, second uplink", Inet2, "203.0.113.11:81", Some("192.0.2.90"), B_IN, B_IN),
    ("static NAT inwards, first", Inet, "198.51.100.12:8080", Some("192.0.2.80"), A_IN, A_IN),
    ("static NAT inwards, second", Inet2, "203.0.113.12:8080", Some("192.0.2.90"), B_IN, B_IN),
    ("forward from its own tier", Vm2, "198.51.100.11:81", Some("10.1.1.1"), None, None),
    ("forward from another tier", Vm3, "198.51.100.11:81", Some("10.1.2.23"), A_IN, B_OUT),
    ("forward of the other uplink", Vm1, "203.0.113.11:81", Some("10.1.1.23"), B_IN, B_IN),
    ("static NAT from its own tier", Vm1, "198.51.100.12:8080", Some("10.1.1.1"), None, None),
    ("static NAT from another tier", Vm3, "198.51.100.12:8080", Some("10.1.2.23"), A_IN, B_OUT),
    ("static NAT of the other uplink", Vm1, "203.0.113.12:8080", Some("10.1.1.23"), B_IN, B_IN),
    (
        "forward from the private network",
        Branch,
        "198.51.100.11:81",
        Some("172.20.0.1"),
        A_IN,
        P_OUT,
    ),
    (
        "forward of the second uplink from the private network",
        Branch,
        "203.0.113.11:81",
        Some("172.20.0.1"),
        B_IN,
        P_OUT,
    ),
    (
        "static NAT from the private network, first",
        Branch,
        "198.51.100.12:8080",
        Some("172.20.0.1"),
        A_IN,
        P_OUT,
    ),
    (
        "static NAT from the private network, second",
        Branch,
        "203.0.113.12:8080",
        Some("172.20.0.1"),
        B_IN,
        P_OUT,
    ),
    ("forward from its own tier, second", Vm3Own, "203.0.113.11:81", Some("10.1.2.1"), None, None),
    (
        "static NAT from its own tier, second",
        Vm3,
        "203.0.113.12:8080",
        Some("10.1.2.1"),
        None,
        None,
    ),
    (
        "the second uplink to an inside address",
        Inet2,
        "10.1.2.23:8080",
        None,
        UNTRANSLATED,
        UNTRANSLATED,
    ),
    (
        "the second uplink to the private network",
        Inet2,
        "172.20.0.1:8080",
        None,
        UNTRANSLATED,
        UNTRANSLATED,
    ),
    ("private network to the second uplink", Branch, "192.0.2.90:8080", None, P_OUT, P_OUT),
    ("a port that leads nowhere, second", Inet2, "203.0.113.11:82", None, None, None),
    ("the Internet to an inside address", Inet, "10.1.1.23:8080", None, UNTRANSLATED, UNTRANSLATED),
    ("private network to the Internet", Branch, "192.0.2.80:8080", None, P_OUT, P_OUT),
    (
        "the Internet to the private network",
        Inet,
        "172.20.0.1:8080",
        None,
        UNTRANSLATED,
        UNTRANSLATED,
    ),
    ("a port that leads nowhere", Inet, "198.51.100.11:82", None, None, None),
    (
        "IPv6, other tier",
        Vm1,
        "[2001:db8:2::23]:8080",
        Some("2001:db8:1::23"),
        Some("acl/acl-b/in-v6"),
        Some("acl/acl-b/in-v6"),
    ),
    (
        "IPv6, the other way",
        Vm3,
        "[2001:db8:1::23]:8080",
        Some("2001:db8:2::23"),
        Some("acl/acl-a/in-v6"),
        Some("acl/acl-b/out-v6"),
    ),
    (
        "IPv6 to the Internet, first uplink",
        Vm1,
        "[2001:db8:80::80]:8080",
        Some("2001:db8:1::23"),
        None,
        None,
    ),
    (
        "IPv6 to the Internet, second uplink",
        Vm3,
        "[2001:db8:90::90]:8080",
        Some("2001:db8:2::23"),
        Some("acl/acl-b/out-v6"),
        Some("acl/acl-b/out-v6"),
    ),
    (
        "the Internet to a tier over IPv6, first uplink",
        Inet,
        "[2001:db8:1::23]:8080",
        Some("2001:db8:80::80"),
        Some("acl/acl-a/in-v6"),
        Some("acl/acl-a/in-v6"),
    ),
    (
        "the Internet to a tier over IPv6, second uplink",
        Inet2,
        "[2001:db8:2::23]:8080",
        Some("2001:db8:90::90"),
        Some("acl/acl-b/in-v6"),
        Some("acl/acl-b/in-v6"),
    ),
    (
        "the same to a tier of the other uplink, which answers by this one",
        Inet2,
        "[2001:db8:1::23]:8080",
        Some("2001:db8:90::90"),
        Some("acl/acl-a/in-v6"),
        Some("acl/acl-a/in-v6"),
    ),
];

/// With source NAT of the private gateway (11.19.5) everybody of the VPC is seen there with the gateway's address, and who comes
/// from there as himself.
pub(super) const HIDDEN: &[Row] = &[
    ("tier behind the gateway", Vm1, "172.20.0.1:8080", Some("172.16.0.2"), P_IN, P_IN),
    ("static NAT behind the gateway", Vm2, "172.20.0.1:8080", Some("172.16.0.2"), P_IN, P_IN),
    ("other tier behind the gateway", Vm3, "172.20.0.1:8080", Some("172.16.0.2"), P_IN, B_OUT),
    ("private network to tier", Branch, "10.1.1.23:8080", Some("172.20.0.1"), A_IN, P_OUT),
    ("not for the Internet", Vm1, "192.0.2.80:8080", Some("198.51.100.10"), None, None),
    (
        "forward from the private network",
        Branch,
        "198.51.100.11:81",
        Some("172.20.0.1"),
        A_IN,
        P_OUT,
    ),
];

/// The rules that translate a connection to `to` that is seen as `seen`: it is counted by each of them once.
pub(super) fn translating(to: &str, seen: &str) -> Vec<&'static str> {
    let towards = match to.rsplit_once(':') {
        Some((_, "81")) => Some("nat/forward-tcp"),
        Some(("198.51.100.12" | "203.0.113.12", _)) => Some("nat/static-in"),
        _ => None,
    };
    let from = match seen {
        "198.51.100.10" | "203.0.113.10" | "172.16.0.2" => Some("nat/source"),
        "198.51.100.12" | "203.0.113.12" => Some("nat/static-out"),
        "10.1.1.1" | "10.1.2.1" => Some("nat/hairpin"),
        _ => None,
    };
    towards.into_iter().chain(from).collect()
}
