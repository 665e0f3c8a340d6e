//! DHCP options: of a form that their number can have, given once, and not those that the server makes itself.

use std::net::{IpAddr, Ipv4Addr};

use super::Scope;
use crate::config::{DhcpOption, DhcpValue, Guest, GuestNetwork};
use crate::types::{Cidr, LeaseSeconds, OptionCode};

/// Most options of one network or guest.
const MAX_OPTIONS: usize = 32;
const LEASE_TIME: u8 = 51;
const RENEWAL_TIME: u8 = 58;
const REBINDING_TIME: u8 = 59;
/// Most ranges of one network.
const MAX_POOLS: usize = 16;
/// What the server says itself: mask and broadcast address, and what the protocol runs on.
const KEPT: [u8; 14] = [1, 28, 50, 52, 53, 54, 55, 56, 57, 61, 80, 82, 90, 118];
/// Bytes of a message that every client takes (RFC 2131 2), less header, end, and the options of each reply: type, server,
/// lease times, mask, broadcast address and the client's id.
const ROOM: usize = 548 - 240 - 1 - (3 + 6 + 18 + 6 + 6 + 21);

/// What is wrong with the options of network number `index` and of its guests.
pub(super) fn check(scope: &mut Scope<'_>, index: usize, network: &GuestNetwork) {
    let path = format!("networks[{index}].dhcp.options");
    options(scope, &path, &network.dhcp.options);
    times(scope, &path, network, &[]);
    for (position, guest) in network.guests.iter().enumerate() {
        if !guest.dhcp.options.is_empty() {
            let path = format!("networks[{index}].guests[{position}].dhcp.options");
            options(scope, &path, &guest.dhcp.options);
            times(scope, &path, network, &guest.dhcp.options);
        }
    }
    pools(scope, index, network);
    let needed = needed(network);
    if needed > ROOM {
        let over = needed - ROOM;
        let reason = format!(
            "the options are {over} bytes too long for clients that do not say how much they take; \
             the least needed are left out for these"
        );
        scope.warning(format!("networks[{index}].dhcp"), "options-too-long", reason);
    }
}

/// Ranges that are lent from: inside the network, apart from each other.
fn pools(scope: &mut Scope<'_>, index: usize, network: &GuestNetwork) {
    let pools = &network.dhcp.pools;
    let at = |position: usize| format!("networks[{index}].dhcp.pools[{position}]");
    if pools.len() > MAX_POOLS {
        let reason = format!("{} ranges are more than {MAX_POOLS}", pools.len());
        scope.error(format!("networks[{index}].dhcp.pools"), "too-many", reason);
    }
    for (position, pool) in pools.iter().enumerate() {
        let usable = |address: Ipv4Addr, cidr: &Cidr| cidr.usable_for_host(IpAddr::V4(address));
        let mut spans = network.spans();
        if !spans.any(|(cidr, _)| usable(pool.first(), &cidr) && usable(pool.last(), &cidr)) {
            let reason =
                format!("{pool} has addresses that no host of {} has", network.spans_text());
            scope.error(at(position), "outside-network", reason);
        }
        let mut before = pools.iter().take(position);
        if let Some(other) = before.find(|other| other.overlaps(*pool)) {
            scope.error(at(position), "overlap", format!("{pool} overlaps {other}"));
        }
    }
}

fn options(scope: &mut Scope<'_>, path: &str, options: &[DhcpOption]) {
    if options.len() > MAX_OPTIONS {
        let reason = format!("{} options are more than {MAX_OPTIONS}", options.len());
        scope.error(path, "too-many", reason);
    }
    scope.unique(
        "option",
        "duplicate-option",
        options.iter().enumerate().map(|(i, o)| (o.code, format!("{path}[{i}].code"))),
    );
    for (index, option) in options.iter().enumerate() {
        let code = option.code;
        if KEPT.contains(&code.get()) {
            let reason = format!("option {code} is made by the server itself");
            scope.error(format!("{path}[{index}].code"), "option-kept", reason);
        } else if let Some(reason) = misfit(code, &option.value) {
            scope.error(format!("{path}[{index}].value"), "option-value", reason);
        }
    }
}

/// Renewal comes before rebinding, and that before the lease's end (RFC 2131 4.4.5). `own` is what is given for one guest.
fn times(scope: &mut Scope<'_>, path: &str, network: &GuestNetwork, own: &[DhcpOption]) {
    let given = |list: &[DhcpOption], code: u8| {
        list.iter().find(|option| option.code.get() == code).and_then(|option| match option.value {
            DhcpValue::Number(seconds) => Some(seconds),
            _ => None,
        })
    };
    let network_wide = &network.dhcp.options;
    let lease_of_own = given(own, LEASE_TIME);
    let about_it = [LEASE_TIME, RENEWAL_TIME, REBINDING_TIME];
    if !own.is_empty() && about_it.iter().all(|code| given(own, *code).is_none()) {
        // the network's, of which it is said there
        return;
    }
    let lease = lease_of_own.or_else(|| given(network_wide, LEASE_TIME));
    let lease = lease.unwrap_or(network.dhcp.lease_seconds.get()).max(LeaseSeconds::MIN.get());
    // a lease of its own leaves the network's other times behind
    let follows = |code| match lease_of_own {
        Some(_) => given(own, code),
        None => given(own, code).or_else(|| given(network_wide, code)),
    };
    let renewal = follows(RENEWAL_TIME).unwrap_or(lease / 2);
    let rebinding = follows(REBINDING_TIME).unwrap_or(lease - lease / 8);
    if renewal > rebinding || rebinding > lease {
        let reason = format!(
            "renewal after {renewal} s, rebinding after {rebinding} s and the end after {lease} s \
             are not in this order: clients do as they please"
        );
        scope.warning(path, "option-times", reason);
    }
}

/// Why `value` is none for `code`.
fn misfit(code: OptionCode, value: &DhcpValue) -> Option<String> {
    let expected = match code.get() {
        3 | 4 | 5 | 6 | 7 | 41 | 42 | 44 | 45 | 48 | 49 | 65 | 69 | 150 => "addresses",
        12 | 14 | 15 | 17 | 18 | 40 | 47 | 62 | 64 | 66 | 67 | 100 | 101 | 114 | 252 => "text",
        13 | 19 | 20 | 22 | 23 | 26 | 35 | 37 | 38 | 46 | 51 | 58 | 59 | 108 | 116 => "number",
        119 => "names",
        121 | 249 => "routes",
        43 | 60 | 124 | 125 => "hex",
        _ => "",
    };
    let (given, is_empty) = match value {
        DhcpValue::Addresses(list) => ("addresses", list.is_empty()),
        DhcpValue::Names(list) => ("names", list.is_empty()),
        DhcpValue::Text(_) => ("text", false),
        DhcpValue::Number(_) => ("number", false),
        DhcpValue::Routes(list) => ("routes", list.is_empty()),
        DhcpValue::Hex(_) => ("hex", false),
    };
    if is_empty {
        return Some(format!("option {code} has an empty list"));
    }
    if let DhcpValue::Number(number) = value
        && u64::from(*number) >= 1 << (8 * code.number_width())
    {
        return Some(format!("{number} does not fit into option {code}"));
    }
    let fits = given == expected || given == "hex" || expected.is_empty();
    (!fits).then(|| format!("option {code} holds {expected}, not {given}"))
}

/// Bytes of what the network's guests are told, the longest host name among them.
fn needed(network: &GuestNetwork) -> usize {
    let dhcp = &network.dhcp;
    let own = |code: u8| dhcp.options.iter().any(|option| option.code.get() == code);
    let given: usize = dhcp.options.iter().map(|option| 2 + option.value.length(option.code)).sum();
    let routes: usize = dhcp.routes.iter().map(crate::config::ClasslessRoute::length).sum();
    let name = |guest: &Guest| guest.hostname.as_str().len();
    [
        (3, 6),
        (6, 2 + 4 * dhcp.resolvers.len().max(1)),
        (12, 2 + network.guests.iter().map(name).max().unwrap_or(0)),
        (15, 2 + network.domain.as_str().len()),
        (26, 4),
        (121, 2 + 5 + routes),
    ]
    .into_iter()
    .filter_map(|(code, length)| (!own(code)).then_some(length))
    .sum::<usize>()
        + given
}
