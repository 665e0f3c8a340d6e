//! What a client is told besides its address: options in the order of their importance, encoded once per configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use dhcproto::v4::DhcpOption;
use sluice_api::config::{self, ClasslessRoute, DhcpBoot, DhcpValue};
use sluice_api::types::{LeaseSeconds, OptionCode};

use super::options::{CLASSLESS_ROUTES_MS, Encoded};
use super::slice::{NetworkSlice, Reservation};

const ROUTER: u8 = 3;
const RESOLVERS: u8 = 6;
pub(super) const HOST_NAME: u8 = 12;
const DOMAIN: u8 = 15;
const LEASE_TIME: u8 = 51;
const RENEWAL_TIME: u8 = 58;
const REBINDING_TIME: u8 = 59;
const BOOT_SERVER: u8 = 66;
const BOOT_FILE: u8 = 67;
const SEARCH_LIST: u8 = 119;
const CLASSLESS_ROUTES: u8 = 121;

/// What is said to all clients of a kind, or to one.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) lease: LeaseSeconds,
    /// Options 51, 58 and 59: only for whom has a lease.
    pub(crate) timing: Vec<Encoded>,
    /// The others but for the host name, most needed first: what comes last is left out of a reply that is too full.
    pub(crate) options: Vec<Encoded>,
    pub(crate) boot: Option<DhcpBoot>,
}

impl Told {
    /// What the guests of `slice` are told. `outward` for NICs by which their VM reaches the rest of the world: a second
    /// default route, resolver or domain would be one too many.
    pub(crate) fn of_network(slice: &NetworkSlice, outward: bool) -> Self {
        let mut options = derived(slice);
        options.extend(configured(&slice.options));
        if !outward {
            for code in [ROUTER, RESOLVERS, DOMAIN, SEARCH_LIST] {
                options.remove(&code);
            }
            let routes = within(&slice.routes);
            options.remove(&CLASSLESS_ROUTES);
            options.extend(routes.map(|routes| (CLASSLESS_ROUTES, routes)));
        }
        Self::new(slice.lease_seconds, options, slice.boot.clone())
    }

    /// The same for one guest that is told something of its own; `None` for one that is not.
    pub(crate) fn of_guest(slice: &NetworkSlice, guest: &Reservation) -> Option<Box<Self>> {
        if guest.dhcp.is_empty() {
            return None;
        }
        let network = Self::of_network(slice, guest.default_nic);
        let mut options: BTreeMap<u8, Encoded> =
            network.options.into_iter().map(|option| (option.code, option)).collect();
        options.extend(network.timing.into_iter().map(|option| (option.code, option)));
        if guest.dhcp.options.iter().any(|option| option.code.get() == LEASE_TIME) {
            // the network's times follow from a lease that this guest does not have
            options.retain(|code, _| ![RENEWAL_TIME, REBINDING_TIME].contains(code));
        }
        options.extend(configured(&guest.dhcp.options));
        let boot = guest.dhcp.boot.clone();
        if boot.is_some() {
            options.retain(|code, _| {
                let own = guest.dhcp.options.iter().any(|option| option.code.get() == *code);
                own || ![BOOT_SERVER, BOOT_FILE].contains(code)
            });
        }
        Some(Box::new(Self::new(network.lease, options, boot.or(network.boot))))
    }

    fn new(
        lease: LeaseSeconds,
        mut options: BTreeMap<u8, Encoded>,
        boot: Option<DhcpBoot>,
    ) -> Self {
        if let Some(routes) = options.get(&CLASSLESS_ROUTES) {
            // the content is the same under the other number
            let same = Encoded::raw(CLASSLESS_ROUTES_MS, &routes.value());
            options.entry(CLASSLESS_ROUTES_MS).or_insert(same);
        }
        for (code, option) in boot.iter().flat_map(of_boot) {
            options.entry(code).or_insert(option);
        }
        let lease = options.get(&LEASE_TIME).and_then(seconds).unwrap_or(lease);
        let timing = timing(lease).map(|(code, option)| options.remove(&code).or(option));
        let mut options: Vec<_> = options.into_values().collect();
        options.sort_by_key(|option| rank(option.code));
        Self { lease, timing: timing.into_iter().flatten().collect(), options, boot }
    }
}

/// How much a client misses an option: without a mask, a router and a resolver it can do nothing, and without routes it has
/// the router. Long ones come last, so that one does not keep the short ones out.
fn rank(code: u8) -> u8 {
    match code {
        1 => 0,
        ROUTER => 1,
        RESOLVERS => 2,
        HOST_NAME => 3,
        DOMAIN => 4,
        26 => 5,
        28 => 6,
        CLASSLESS_ROUTES => 8,
        CLASSLESS_ROUTES_MS => 9,
        _ => 7,
    }
}

/// What follows from the network.
fn derived(slice: &NetworkSlice) -> BTreeMap<u8, Encoded> {
    let broadcast = match slice.cidr.last() {
        IpAddr::V4(last) => Some(DhcpOption::BroadcastAddr(last)),
        IpAddr::V6(_) => None,
    };
    let fixed = [
        DhcpOption::SubnetMask(slice.cidr.ipv4_mask().unwrap_or(Ipv4Addr::BROADCAST)),
        DhcpOption::Router(vec![slice.gateway]),
        DhcpOption::DomainNameServer(slice.resolvers.clone()),
        DhcpOption::InterfaceMtu(slice.mtu.get()),
        DhcpOption::DomainName(slice.domain.as_str().to_owned()),
        classless_routes(Some(slice.gateway), &slice.routes),
    ];
    let all = fixed.iter().chain(broadcast.as_ref()).filter_map(Encoded::new);
    all.map(|option| (option.code, option)).collect()
}

/// Routes that lead somewhere in particular, and not to the rest of the world.
fn within(routes: &[ClasslessRoute]) -> Option<Encoded> {
    let inward: Vec<_> =
        routes.iter().filter(|route| route.destination.prefix() > 0).cloned().collect();
    Encoded::new(&classless_routes(None, &inward))
}

fn configured(options: &[config::DhcpOption]) -> impl Iterator<Item = (u8, Encoded)> {
    options.iter().filter_map(|option| {
        let encoded = encode(option.code, &option.value)?;
        Some((encoded.code, encoded))
    })
}

/// `value` as option `code`. dhcproto has no types for some of the numbers, so what is plain bytes goes by its raw form.
fn encode(code: OptionCode, value: &DhcpValue) -> Option<Encoded> {
    let number = code.get();
    let raw = |bytes: &[u8]| Some(Encoded::raw(number, bytes));
    match value {
        DhcpValue::Addresses(addresses) => {
            raw(&addresses.iter().flat_map(Ipv4Addr::octets).collect::<Vec<_>>())
        }
        DhcpValue::Text(text) => raw(text.as_str().as_bytes()),
        DhcpValue::Hex(bytes) => raw(bytes.bytes()),
        DhcpValue::Number(value) => {
            let bytes = value.to_be_bytes();
            raw(bytes.get(bytes.len() - code.number_width()..)?)
        }
        DhcpValue::Routes(routes) => raw(&Encoded::new(&classless_routes(None, routes))?.value()),
        DhcpValue::Names(names) => {
            let names =
                names.iter().filter_map(|name| dhcproto::Name::from_ascii(name.as_str()).ok());
            raw(&Encoded::new(&DhcpOption::DomainSearch(names.collect()))?.value())
        }
    }
}

/// Options 66 and 67 for clients that read them and not the header's fields.
fn of_boot(boot: &DhcpBoot) -> Vec<(u8, Encoded)> {
    let server = Encoded::raw(BOOT_SERVER, boot.next_server.to_string().as_bytes());
    let file = boot.file.as_ref().map(|file| Encoded::raw(BOOT_FILE, file.as_str().as_bytes()));
    std::iter::once((BOOT_SERVER, server)).chain(file.map(|file| (BOOT_FILE, file))).collect()
}

/// Lease time, T1 at a half and T2 at seven eighths of it (RFC 2131 4.4.5); "for ever" is for ever in all three.
fn timing(lease: LeaseSeconds) -> [(u8, Option<Encoded>); 3] {
    let whole = lease.get();
    let (renew, rebind) = match whole {
        u32::MAX => (whole, whole),
        _ => (whole / 2, whole - whole / 8),
    };
    [
        (LEASE_TIME, Encoded::new(&DhcpOption::AddressLeaseTime(whole))),
        (RENEWAL_TIME, Encoded::new(&DhcpOption::Renewal(renew))),
        (REBINDING_TIME, Encoded::new(&DhcpOption::Rebinding(rebind))),
    ]
}

/// A lease time as an option has it.
fn seconds(option: &Encoded) -> Option<LeaseSeconds> {
    let bytes = option.value().try_into().ok()?;
    u64::from(u32::from_be_bytes(bytes)).try_into().ok()
}

/// RFC 3442. The default route goes first, because a client that takes this option must ignore option 3.
fn classless_routes(gateway: Option<Ipv4Addr>, routes: &[ClasslessRoute]) -> DhcpOption {
    let default = gateway.and_then(|gateway| Some(("0.0.0.0/0".parse().ok()?, gateway)));
    let each = routes.iter().filter_map(|route| {
        let network = route.destination.as_ipv4()?;
        Some((network.to_string().parse().ok()?, route.via))
    });
    DhcpOption::ClasslessStaticRoute(default.into_iter().chain(each).collect())
}
