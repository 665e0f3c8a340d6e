//! Findings about load balancing rules, with the rules' names: a place in a list tells nobody which rule it is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sluice_api::config::AnyPart;
use sluice_api::types::ObjectId;
use sluice_api::{ApplianceConfig, Finding};

use crate::error::Error;
use crate::kinds::Kind as _;
use crate::kinds::balancer::Balancer;
use crate::kinds::dynamic;
use crate::store::Conn;
use crate::store::objects::ALL;

/// The findings of `config`, those about a rule beginning with its name. Paths stay what programs can follow.
pub(super) async fn named(
    conn: &mut Conn,
    config: &ApplianceConfig,
    mut findings: Vec<Finding>,
) -> Result<Vec<Finding>, Error> {
    let AnyPart::Router(router) = &config.role else { return Ok(findings) };
    let mut names = BTreeMap::new();
    for finding in &mut findings {
        let Some(number) = place(&finding.path) else { continue };
        let Some(rule) = router.balancers.get(number) else { continue };
        let name = match names.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(called(conn, &rule.id).await?),
        };
        finding.reason = format!("{} {name}: {}", Balancer::NAMES.word, finding.reason);
    }
    Ok(findings)
}

/// Which rule of the configuration a path is about.
fn place(path: &str) -> Option<usize> {
    let (number, _) = path.strip_prefix("role.router.balancers[")?.split_once(']')?;
    number.parse().ok()
}

/// What its owner calls it; one that is in a stored configuration alone has its id.
async fn called(conn: &mut Conn, id: &ObjectId) -> Result<String, Error> {
    let found: Option<Balancer> = dynamic::load(conn, &[("id", id.as_str())], ALL).await?.pop();
    Ok(found.map_or_else(|| id.to_string(), |rule| rule.name.to_string()))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_path_tells_the_place_of_the_rule_that_it_is_about() {
        for (path, number) in [
            ("role.router.balancers[3].stickiness", Some(3)),
            ("role.router.balancers[12]", Some(12)),
            ("role.router.balancers", None),
            ("role.router.balancers[x].port", None),
            ("role.router.networks[3].guests", None),
        ] {
            assert_eq!(place(path), number, "{path}");
        }
    }
}
