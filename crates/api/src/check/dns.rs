//! Records of the operator's own: an alias stands alone and leads to a name of this router, no record is given twice.

use std::collections::{HashMap, HashSet};

use super::Scope;
use crate::config::{DnsRecord, GuestNetwork, RecordData, RouterConfig};
use crate::types::{DomainName, HostName, RecordName};

/// Most records of one network.
const MAX_RECORDS: usize = 4096;

pub(super) fn check(scope: &mut Scope<'_>, router: &RouterConfig) {
    let mut by_domain: HashMap<&DomainName, Vec<(usize, &GuestNetwork)>> = HashMap::new();
    for (index, network) in router.networks.iter().enumerate() {
        by_domain.entry(&network.domain).or_default().push((index, network));
        let count = network.dns.records.len();
        if count > MAX_RECORDS {
            let reason = format!("{count} records are more than {MAX_RECORDS}");
            scope.error(format!("networks[{index}].dns.records"), "too-many", reason);
        }
    }
    if router.networks.iter().all(|network| network.dns.records.is_empty()) {
        return;
    }
    for (domain, networks) in by_domain {
        of_domain(scope, router, domain, &networks);
    }
}

/// The records that guests of one domain see.
fn of_domain(
    scope: &mut Scope<'_>,
    router: &RouterConfig,
    domain: &DomainName,
    networks: &[(usize, &GuestNetwork)],
) {
    let mut names = guests(router, domain, networks);
    let own = [router.hostname.as_str(), HostName::DATA_SERVER];
    let records = || {
        networks.iter().flat_map(|(index, network)| {
            let path = move |at| format!("networks[{index}].dns.records[{at}]");
            network.dns.records.iter().enumerate().map(move |(at, record)| (path(at), record))
        })
    };
    let mut seen: HashSet<(&str, String)> = HashSet::new();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for (path, record) in records() {
        let name = record.name.as_str();
        names.insert(name.to_owned());
        *counts.entry(name).or_default() += 1;
        if !seen.insert((name, format!("{:?}", record.data))) {
            scope.error(path, "duplicate-record", format!("{name} has this record already"));
        } else if own.iter().any(|host| name == format!("{host}.{domain}"))
            || name == HostName::DATA_SERVER
        {
            scope.error(format!("{path}.name"), "reserved-name", format!("{name} is the router"));
        }
    }
    let guests = guests(router, domain, networks);
    for (path, record) in records() {
        alias(scope, &path, record, &names, |name| {
            counts.get(name).is_some_and(|count| *count > 1) || guests.contains(name)
        });
    }
}

/// An alias has no other record (RFC 1034 3.6.2), and what it stands for is known here: stub resolvers do not look for it.
fn alias(
    scope: &mut Scope<'_>,
    path: &str,
    record: &DnsRecord,
    names: &HashSet<String>,
    is_shared: impl Fn(&str) -> bool,
) {
    let RecordData::Cname(target) = &record.data else { return };
    if is_shared(record.name.as_str()) {
        let reason = format!("{} has another record beside the alias", record.name);
        scope.error(format!("{path}.name"), "alias-not-alone", reason);
    }
    let known = names.contains(target.as_str())
        || RecordName::wildcards_of(target.as_str()).any(|wildcard| names.contains(&wildcard));
    if !known || target.as_str() == record.name.as_str() {
        let reason = format!("{target} is no guest's and no record's name in this domain");
        scope.error(format!("{path}.data.cname"), "alias-target", reason);
    }
}

/// The full names of the domain's guests.
fn guests(
    router: &RouterConfig,
    domain: &DomainName,
    networks: &[(usize, &GuestNetwork)],
) -> HashSet<String> {
    let guests = networks.iter().flat_map(|(_, network)| &network.guests);
    let hosts = guests.map(|guest| guest.hostname.as_str());
    hosts.chain([router.hostname.as_str()]).map(|host| format!("{host}.{domain}")).collect()
}
