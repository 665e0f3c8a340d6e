//! Everything the answering core needs to know, compiled from a slice and never changed after.
//!
//! Guarantees: built apart from the serving threads and swapped in whole, so each answer is wholly of one configuration;
//! 10,000 guests take milliseconds. **Who sees what:** guests of a network see the names of their own domain, which
//! networks may share. Names of the router's other domains are refused to them and never sent to upstreams, unless the
//! networks are tiers of one VPC, which see each other's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use sluice_api::config::{DnsRecord, RecordData};
use sluice_api::types::{Cidr, DomainName, HostName};

use super::name::Name;
use super::slice::{DnsForward, DnsNetwork, DnsSlice, Group, Listen};
use super::special;
use super::zone::{Authority, Node, Record, View, Wire, Zone, fills_zones, reverse_zones};

/// Name of the router's metadata service in every domain and without one, as on today's routers.
pub(super) const DATA_SERVER: &[u8] = b"\x0bdata-server\x00";

/// One configuration, ready to answer from.
#[derive(Debug)]
pub struct Snapshot {
    networks: Vec<Network>,
    views: Vec<View>,
    /// Guests of one network see the names of all.
    shared: bool,
    /// Zones that are empty for everybody.
    special: View,
    /// Last labels of all the zones: a name with another one is foreign at one look.
    tops: BTreeSet<Wire>,
    /// The sets of upstreams, each with a number.
    groups: Groups,
    /// Names whose questions go elsewhere, with everything below them.
    forwarded: HashMap<Wire, Option<u8>>,
    serial: u32,
}

/// A guest network as the core sees it.
#[derive(Debug)]
pub struct Network {
    listen: Vec<Listen>,
    /// Further sources that are answered.
    clients: Vec<Cidr>,
    view: usize,
    /// Upstreams of its own, or those of all.
    group: Option<u8>,
    /// Whose share of what is scarce its clients have: that of the first network of its link.
    share: IpAddr,
    /// The router's own records in it.
    pub(super) router: Vec<Record>,
}

impl Network {
    /// Whether `address` is one of the network's own guests'.
    pub(super) fn holds(&self, address: Ipv4Addr) -> bool {
        self.listen.iter().any(|listen| listen.clients.contains(address.into()))
    }

    /// Its share of what is scarce, by an address of the router: ranges of one link have one.
    pub(super) fn share(&self) -> IpAddr {
        self.share
    }

    /// Whether a query from `client` to `local` is one of this network's own.
    pub fn admits(&self, local: IpAddr, client: IpAddr) -> bool {
        let here = self.listen.iter().find(|listen| listen.address == local);
        here.is_some_and(|listen| {
            listen.clients.contains(client) || self.clients.iter().any(|it| it.contains(client))
        })
    }
}

impl Snapshot {
    /// Serves nobody.
    pub(super) fn empty() -> Self {
        Self {
            networks: Vec::new(),
            views: Vec::new(),
            shared: false,
            special: View::default(),
            tops: BTreeSet::new(),
            groups: Groups::default(),
            forwarded: HashMap::new(),
            serial: 0,
        }
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
        let groups = Groups::of(slice);
        let networks = slice.networks.iter().map(|each| {
            let own = groups.number(&each.group()).or_else(|| groups.number(&slice.group()));
            of_network(slice, each, view(each), own)
        });
        let special = empty_zones(slice, serial);
        let forwarded: HashMap<Wire, Option<u8>> = slice
            .forward
            .iter()
            .filter_map(|zone| {
                let name = Name::parse(zone.zone.as_str())?;
                Some((name.as_bytes().into(), groups.number(&zone.group())))
            })
            .collect();
        let kept = |name: &Name| {
            let elsewhere = name.suffixes().any(|suffix| forwarded.contains_key(suffix));
            !elsewhere && special.node(name).is_none() && special.zone_of(name).is_some()
        };
        let views: Vec<_> = by_domain
            .iter()
            .map(|(domain, networks)| of_domain(slice, domain, networks, serial, &kept))
            .collect();
        let strays = views.iter().flat_map(View::strays);
        let apexes = views.iter().chain([&special]).flat_map(View::apexes);
        let wildcards = views.iter().flat_map(View::wildcards);
        let tops = apexes.chain(strays).chain(wildcards).map(top);
        let tops = tops
            .chain(Name::parse(special::LOCALHOST).map(|name| name.as_bytes().into()))
            .chain([DATA_SERVER.into()])
            .collect();
        let networks = networks.collect();
        let shared = slice.shared;
        Self { networks, views, shared, special, tops, groups, forwarded, serial }
    }

    /// The network of which `local` is an address of the router.
    pub fn network(&self, local: IpAddr) -> Option<&Network> {
        self.networks.iter().find(|network| network.listen.iter().any(|l| l.address == local))
    }

    /// The zones' SOA serial.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Whether there are upstreams for the guests of `network`.
    pub(super) fn forwards(&self, network: &Network) -> bool {
        network.group.is_some()
    }

    /// Whether the operator sends questions for `name` elsewhere.
    pub(super) fn is_forwarded(&self, name: &Name) -> bool {
        !self.forwarded.is_empty()
            && name.suffixes().any(|suffix| self.forwarded.contains_key(suffix))
    }

    /// The upstreams that `name` is asked of for `network`, by number; `None` when there are none.
    pub(super) fn group(&self, network: &Network, name: &Name) -> Option<u8> {
        if self.forwarded.is_empty() {
            return network.group;
        }
        let zone = name.suffixes().find_map(|suffix| self.forwarded.get(suffix));
        zone.copied().flatten().or(network.group)
    }

    /// All sets of upstreams, in the order of their numbers.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups.0
    }

    /// Whether `name` may be in any zone here.
    pub(super) fn may_own(&self, name: &Name) -> bool {
        self.tops.contains(name.top())
    }

    /// The names that the guests of `network` look `name` up among: their own domain's, unless another one that they may
    /// see knows more of it.
    pub(super) fn view(&self, network: &Network, name: &Name) -> Option<&View> {
        let own = self.views.get(network.view)?;
        if !self.shared || own.node(name).is_some() {
            return Some(own);
        }
        let known = self.views.iter().find(|view| view.node(name).is_some());
        let nearest = || {
            let near = |view: &&View| view.depth(name).unwrap_or(usize::MAX);
            self.views.iter().filter(|view| view.depth(name).is_some()).min_by_key(near)
        };
        let made = || self.views.iter().find(|view| view.wildcard(name).is_some());
        Some(known.or_else(nearest).or_else(made).unwrap_or(own))
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

/// Sets of upstreams, each once.
#[derive(Debug, Default)]
struct Groups(Vec<Group>);

impl Groups {
    fn of(slice: &DnsSlice) -> Self {
        let of_networks = slice.networks.iter().map(DnsNetwork::group);
        let of_zones = slice.forward.iter().map(DnsForward::group);
        let mut all = Vec::new();
        for group in std::iter::once(slice.group()).chain(of_networks).chain(of_zones) {
            if !group.resolvers.is_empty() && !all.contains(&group) {
                all.push(group);
            }
        }
        Self(all)
    }

    /// The number of `wanted`; `None` for an empty set, or one beyond what a number can tell.
    fn number(&self, wanted: &Group) -> Option<u8> {
        let at = self.0.iter().position(|group| group == wanted)?;
        u8::try_from(at).ok()
    }
}

fn of_network(slice: &DnsSlice, network: &DnsNetwork, view: usize, group: Option<u8>) -> Network {
    let record = |listen: &Listen| Record::of_address(listen.address, slice.settings.local_ttl);
    let router = network.listen.iter().map(record).collect();
    let (listen, clients) = (network.listen.clone(), network.clients.clone());
    let of_link = |other: &&DnsNetwork| other.link.is_some() && other.link == network.link;
    let first = slice.networks.iter().find(of_link).unwrap_or(network).listen.first();
    let share = first.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |first| first.address);
    Network { listen, clients, view, group, share, router }
}

/// `kept` tells of a name that is in a zone which is kept here though nothing is in it.
fn of_domain(
    slice: &DnsSlice,
    domain: &DomainName,
    networks: &[&DnsNetwork],
    serial: u32,
    kept: &dyn Fn(&Name) -> bool,
) -> View {
    let guests: usize = networks.iter().map(|network| network.hosts.len()).sum();
    let mut view = View::with_capacity(guests * 2 + 16);
    let Some(primary) = Name::of_host(&slice.router, domain) else { return view };
    let Some(apex) = Name::parse(domain.as_str()) else { return view };
    let authority = authority(slice, &primary, serial);
    view.add_zone(&apex, authority.zone(&apex, Vec::new()));
    for network in networks {
        add_reverse_zones(&mut view, &authority, network, kept);
        add_guests(&mut view, &authority, network);
    }
    let records = || networks.iter().flat_map(|network| &network.records);
    for record in records() {
        add_record(&mut view, record);
    }
    for name in records().filter_map(|record| Name::parse(record.name.as_str())) {
        view.add_names_between(&name);
    }
    // a guest of that name wins, as the configuration's check says
    view.add(&primary, Node::Router);
    if let Some(name) = Name::parse(&format!("{}.{domain}", HostName::DATA_SERVER)) {
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

fn add_reverse_zones(
    view: &mut View,
    authority: &Authority<'_>,
    network: &DnsNetwork,
    kept: &dyn Fn(&Name) -> bool,
) {
    let within = |cidr: Cidr| if fills_zones(&cidr) { Vec::new() } else { vec![cidr] };
    for apex in reverse_zones(&network.cidr).0 {
        view.add_zone(&apex, authority.zone(&apex, within(network.cidr)));
        add_names_above(view, &apex, kept);
    }
}

/// Names between a reverse zone and the empty one around it exist, since there is something below them (RFC 8020 2).
fn add_names_above(view: &mut View, apex: &Name, kept: &dyn Fn(&Name) -> bool) {
    for suffix in apex.suffixes().skip(1) {
        if let Some((name, _)) = Name::read(suffix, 0)
            && kept(&name)
        {
            view.add(&name, Node::Empty);
        }
    }
}

fn add_guests(view: &mut View, authority: &Authority<'_>, network: &DnsNetwork) {
    let labels = reverse_zones(&network.cidr).1;
    for host in &network.hosts {
        let Some(name) = Name::of_host(&host.name, &network.domain) else { continue };
        view.add_record(&name, Record::of_address(host.address.into(), authority.ttl));
        view.add_pointer(host.address, labels, &name, authority.ttl);
    }
    for listen in &network.listen {
        if let IpAddr::V4(gateway) = listen.address {
            view.add_pointer(gateway, labels, authority.primary, authority.ttl);
        }
    }
}

/// A record of the operator's own, of whatever name.
fn add_record(view: &mut View, record: &DnsRecord) {
    let Some(name) = Name::parse(record.name.as_str()) else { return };
    let Some(encoded) = Record::of_data(&record.data, record.ttl.get()) else { return };
    match &record.data {
        RecordData::Cname(target) => {
            let Some(target) = Name::parse(target.as_str()) else { return };
            view.add_alias(&name, encoded, &target);
        }
        _ => view.add_record(&name, encoded),
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
