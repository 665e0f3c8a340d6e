//! Everything the answering core needs to know, compiled from a slice and never changed after.
//!
//! Guarantees: built apart from the serving threads and swapped in whole, so each answer is wholly of one configuration;
//! 10,000 guests take milliseconds. **Who sees what:** guests of a network see the names of their own domain, which
//! networks may share. Names of the router's other domains are refused to them and never sent to upstreams.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sluice_api::types::{Cidr, DomainName};

use super::name::Name;
use super::slice::{DnsNetwork, DnsSlice, Listen};
use super::special;
use super::zone::{Authority, Node, Record, View, Wire, Zone, fills_zones, reverse_zones};

/// Name of the router's metadata service in every domain, as on today's routers.
const DATA_SERVER: &str = "data-server";

/// One configuration, ready to answer from.
#[derive(Debug)]
pub struct Snapshot {
    networks: Vec<Network>,
    views: Vec<View>,
    /// Zones that are empty for everybody.
    special: View,
    /// Last labels of all the zones: a name with another one is foreign at one look.
    tops: BTreeSet<Wire>,
    forwards: bool,
    serial: u32,
}

/// A guest network as the core sees it.
#[derive(Debug)]
pub struct Network {
    listen: Vec<Listen>,
    view: usize,
    /// The router's own records in it.
    pub(super) router: Vec<Record>,
}

impl Network {
    /// Whether a query from `client` to `local` is one of this network's own.
    pub fn admits(&self, local: IpAddr, client: IpAddr) -> bool {
        self.listen.iter().any(|listen| listen.address == local && listen.clients.contains(client))
    }
}

impl Snapshot {
    /// Serves nobody.
    pub(super) fn empty() -> Self {
        let (networks, views, special) = (Vec::new(), Vec::new(), View::default());
        Self { networks, views, special, tops: BTreeSet::new(), forwards: false, serial: 0 }
    }

    /// Compiles `slice`; `serial` becomes the zones' SOA serial.
    pub fn build(slice: &DnsSlice, serial: u32) -> Self {
        let mut by_domain: BTreeMap<&DomainName, Vec<&DnsNetwork>> = BTreeMap::new();
        for network in &slice.networks {
            by_domain.entry(&network.domain).or_default().push(network);
        }
        let domains: Vec<_> = by_domain.keys().copied().collect();
        let view = |network: &DnsNetwork| {
            domains.binary_search(&&network.domain).unwrap_or(usize::MAX) // none such: no names
        };
        let networks = slice.networks.iter().map(|each| of_network(slice, each, view(each)));
        let views: Vec<_> = by_domain
            .iter()
            .map(|(domain, networks)| of_domain(slice, domain, networks, serial))
            .collect();
        let special = empty_zones(slice, serial);
        let tops = views.iter().chain([&special]).flat_map(View::apexes).map(top);
        let tops = tops
            .chain(Name::parse(special::LOCALHOST).map(|name| name.as_bytes().into()))
            .collect();
        let networks = networks.collect();
        Self { networks, views, special, tops, forwards: !slice.upstreams.is_empty(), serial }
    }

    /// The network of which `local` is an address of the router.
    pub fn network(&self, local: IpAddr) -> Option<&Network> {
        self.networks.iter().find(|network| network.listen.iter().any(|l| l.address == local))
    }

    /// The zones' SOA serial.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Whether there are upstreams.
    pub(super) fn forwards(&self) -> bool {
        self.forwards
    }

    /// Whether `name` may be in any zone here.
    pub(super) fn may_own(&self, name: &Name) -> bool {
        self.tops.contains(name.top())
    }

    /// What the guests of `network` see.
    pub(super) fn view(&self, network: &Network) -> Option<&View> {
        self.views.get(network.view)
    }

    /// Whether `name` is in a zone of any domain of the router.
    pub(super) fn is_ours(&self, name: &Name) -> bool {
        self.views.iter().any(|view| view.zone_of(name).is_some())
    }

    /// The zones that are empty for everybody.
    pub(super) fn special(&self) -> &View {
        &self.special
    }
}

fn top(apex: &Wire) -> Wire {
    Name::read(apex, 0).map(|(name, _)| name.top().into()).unwrap_or_default()
}

fn of_network(slice: &DnsSlice, network: &DnsNetwork, view: usize) -> Network {
    let record = |listen: &Listen| Record::of_address(listen.address, slice.settings.local_ttl);
    let router = network.listen.iter().map(record).collect();
    Network { listen: network.listen.clone(), view, router }
}

fn of_domain(slice: &DnsSlice, domain: &DomainName, networks: &[&DnsNetwork], serial: u32) -> View {
    let guests: usize = networks.iter().map(|network| network.hosts.len()).sum();
    let mut view = View::with_capacity(guests * 2 + 16);
    let Some(primary) = Name::of_host(&slice.router, domain) else { return view };
    let Some(apex) = Name::parse(domain.as_str()) else { return view };
    let authority = authority(slice, &primary, serial);
    view.add_zone(&apex, authority.zone(&apex, Vec::new()));
    for network in networks {
        add_reverse_zones(&mut view, &authority, network);
        add_guests(&mut view, &authority, network);
    }
    // a guest of that name wins, as the configuration's check says
    view.add(&primary, Node::Router);
    if let Some(name) = Name::parse(&format!("{DATA_SERVER}.{domain}")) {
        // guests fetch passwords and keys from here: no guest may take the name
        view.put(&name, Node::Router);
    }
    view
}

fn authority<'a>(slice: &DnsSlice, primary: &'a Name, serial: u32) -> Authority<'a> {
    let settings = &slice.settings;
    let (ttl, negative_ttl) = (settings.local_ttl, settings.local_negative_ttl);
    Authority { primary, serial, ttl, negative_ttl }
}

fn add_reverse_zones(view: &mut View, authority: &Authority<'_>, network: &DnsNetwork) {
    let within = |cidr: Cidr| if fills_zones(&cidr) { Vec::new() } else { vec![cidr] };
    for apex in reverse_zones(&network.cidr).0 {
        view.add_zone(&apex, authority.zone(&apex, within(network.cidr)));
    }
}

fn add_guests(view: &mut View, authority: &Authority<'_>, network: &DnsNetwork) {
    let labels = reverse_zones(&network.cidr).1;
    for host in &network.hosts {
        let Some(name) = Name::of_host(&host.name, &network.domain) else { continue };
        view.add(&name, Node::One(Record::of_address(host.address.into(), authority.ttl)));
        view.add_pointer(host.address, labels, &name, authority.ttl);
    }
    for listen in &network.listen {
        if let IpAddr::V4(gateway) = listen.address {
            view.add_pointer(gateway, labels, authority.primary, authority.ttl);
        }
    }
}

fn empty_zones(slice: &DnsSlice, serial: u32) -> View {
    let mut view = View::default();
    let Some(primary) = Name::parse(slice.router.as_str()) else { return view };
    let authority = authority(slice, &primary, serial);
    for apex in special::empty_zones().filter_map(|zone| Name::parse(&zone)) {
        let zone: Zone = authority.empty_zone(&apex);
        view.add_zone(&apex, zone);
    }
    view
}
