//! Findings with the names of what they are about: a place in a list tells nobody which rule, network or guest it is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sluice_api::config::{AnyPart, GuestNetwork};
use sluice_api::types::ObjectId;
use sluice_api::{ApplianceConfig, Finding};

use crate::error::Error;
use crate::kinds::Kind;
use crate::kinds::balancer::Balancer;
use crate::kinds::dynamic;
use crate::kinds::network::Network;
use crate::store::Conn;
use crate::store::objects::ALL;

/// The findings of `config`, each beginning with the name of what it is about. Paths stay what programs can follow.
pub(super) async fn named(
    conn: &mut Conn,
    config: &ApplianceConfig,
    mut findings: Vec<Finding>,
) -> Result<Vec<Finding>, Error> {
    let AnyPart::Router(router) = &config.role else { return Ok(findings) };
    let mut names = BTreeMap::new();
    for finding in &mut findings {
        let path = &finding.path;
        let about = if let Some((number, _)) = place(path, "role.router.balancers[") {
            let Some(rule) = router.balancers.get(number) else { continue };
            let name = match names.entry(&rule.id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(called::<Balancer>(conn, &rule.id).await?),
            };
            format!("{} {name}", Balancer::NAMES.word)
        } else if let Some((number, rest)) = place(path, "role.router.networks[") {
            let Some(network) = router.networks.get(number) else { continue };
            let name = match names.entry(&network.id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    unknown.insert(called::<Network>(conn, &network.id).await?)
                }
            };
            format!("{} {name}{}", Network::NAMES.word, part(network, rest))
        } else {
            continue;
        };
        finding.reason = format!("{about}: {}", finding.reason);
    }
    Ok(findings)
}

/// The guest or record of `network` that the rest of a path is about.
fn part(network: &GuestNetwork, rest: &str) -> String {
    if let Some((number, _)) = place(rest, ".guests[")
        && let Some(guest) = network.guests.get(number)
    {
        return format!(", guest {}", guest.hostname);
    }
    if let Some((number, _)) = place(rest, ".dns.records[")
        && let Some(record) = network.dns.records.get(number)
    {
        return format!(", record {}", record.name);
    }
    String::new()
}

/// Which entry of `list` a path is about, and what is behind it.
fn place<'a>(path: &'a str, list: &str) -> Option<(usize, &'a str)> {
    let (number, rest) = path.strip_prefix(list)?.split_once(']')?;
    Some((number.parse().ok()?, rest))
}

/// What its owner calls it; one that is in a stored configuration alone has its id.
async fn called<K: Kind>(conn: &mut Conn, id: &ObjectId) -> Result<String, Error> {
    let found: Option<K> = dynamic::load(conn, &[("id", id.as_str())], ALL).await?.pop();
    Ok(found.map_or_else(|| id.to_string(), |object| object.name()))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_path_tells_the_place_of_what_it_is_about() {
        let rule = |path| place(path, "role.router.balancers[");
        for (path, found) in [
            ("role.router.balancers[3].stickiness", Some((3, ".stickiness"))),
            ("role.router.balancers[12]", Some((12, ""))),
            ("role.router.balancers", None),
            ("role.router.balancers[x].port", None),
            ("role.router.networks[3].guests", None),
        ] {
            assert_eq!(rule(path), found, "{path}");
        }
        let network = place("role.router.networks[3].guests[1].dhcp", "role.router.networks[");
        let (_, rest) = network.unwrap();
        assert_eq!(place(rest, ".guests["), Some((1, ".dhcp")));
    }
}
