//! What a client is told besides its address: options in the order of their importance, encoded once per configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use dhcproto::v4::DhcpOption;
use sluice_api::config::{self, ClasslessRoute, DhcpBoot, DhcpValue, GuestDhcp};
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
        Self::new(slice, outward, &GuestDhcp::default())
    }

    /// The same for one guest that is told something of its own; `None` for one that is not.
    pub(crate) fn of_guest(slice: &NetworkSlice, guest: &Reservation) -> Option<Box<Self>> {
        let own = &guest.dhcp;
        (!own.is_empty()).then(|| Box::new(Self::new(slice, guest.default_nic, own)))
    }

    /// What follows from the network, in its place what is said of the network, and in place of both what is said of a guest.
    fn new(slice: &NetworkSlice, outward: bool, own: &GuestDhcp) -> Self {
        let mut options = derived(slice);
        options.extend(configured(&slice.options));
        if !outward {
            let outer = [ROUTER, RESOLVERS, DOMAIN, SEARCH_LIST, CLASSLESS_ROUTES];
            options.retain(|code, _| !outer.contains(code) && *code != CLASSLESS_ROUTES_MS);
        }
        let given: BTreeMap<_, _> = configured(&own.options).collect();
        for (cause, follows) in [
            // the network's times follow from a lease that this guest does not have
            (given.contains_key(&LEASE_TIME), [RENEWAL_TIME, REBINDING_TIME].as_slice()),
            (given.contains_key(&CLASSLESS_ROUTES), &[CLASSLESS_ROUTES_MS]),
            (own.boot.is_some(), &[BOOT_SERVER, BOOT_FILE]),
        ] {
            options.retain(|code, _| !cause || !follows.contains(code));
        }
        options.extend(given);
        add_routes(&mut options, slice, outward);
        let boot = own.boot.clone().or_else(|| slice.boot.clone());
        for (code, option) in boot.iter().flat_map(of_boot) {
            options.entry(code).or_insert(option);
        }
        let lease = options.remove(&LEASE_TIME).and_then(|option| seconds(&option));
        let lease = lease.unwrap_or(slice.lease_seconds);
        let timing = timing(lease).map(|(code, option)| options.remove(&code).or(option));
        let mut options: Vec<_> = options.into_values().collect();
        options.sort_by_key(|option| rank(option.code));
        Self { lease, timing: timing.into_iter().flatten().collect(), options, boot }
    }
}

/// Option 121 where nobody said what is in it, with the router that clients are told in option 3; and 249, whose content is
/// the same unless somebody said otherwise.
fn add_routes(options: &mut BTreeMap<u8, Encoded>, slice: &NetworkSlice, outward: bool) {
    if !options.contains_key(&CLASSLESS_ROUTES) {
        let router = options.get(&ROUTER).map(Encoded::value);
        let gateway = router.and_then(|it| it.first_chunk().copied().map(Ipv4Addr::from));
        let leads_on = |route: &&ClasslessRoute| outward || route.destination.prefix() > 0;
        let routes: Vec<_> = slice.routes.iter().filter(leads_on).cloned().collect();
        let routes = Encoded::new(&classless_routes(gateway, &routes));
        options.extend(routes.map(|routes| (CLASSLESS_ROUTES, routes)));
    }
    if let Some(routes) = options.get(&CLASSLESS_ROUTES) {
        let same = Encoded::raw(CLASSLESS_ROUTES_MS, &routes.value());
        options.entry(CLASSLESS_ROUTES_MS).or_insert(same);
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

/// What follows from the network, but for its routes.
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
    ];
    let all = fixed.iter().chain(broadcast.as_ref()).filter_map(Encoded::new);
    all.map(|option| (option.code, option)).collect()
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

/// A lease time as an option has it; one that is shorter than any lease is the shortest. None: it is no time.
fn seconds(option: &Encoded) -> Option<LeaseSeconds> {
    let bytes = option.value().try_into().ok()?;
    let seconds = u64::from(u32::from_be_bytes(bytes));
    Some(seconds.try_into().unwrap_or(LeaseSeconds::MIN))
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
