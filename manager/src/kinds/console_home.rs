//! Which console proxy a link leads to: of those that take sessions the least loaded.

use sluice_api::types::{ApplianceId, ObjectId};

use super::appliance::Appliance;
use super::console_grant::ConsoleGrant;
use super::zone::Zone;
use super::{Context, role, rule};
use crate::error::Error;
use crate::store::{consoles, observations};

/// A proxy that could be chosen. Ordered by how good a choice it is: the best comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// No browser is served there yet.
    shut: bool,
    /// It did not answer the last time it was asked.
    silent: bool,
    /// It has as many sessions as it may have.
    full: bool,
    /// Sessions that run.
    sessions: u64,
    /// Links that lead to it, opened or not.
    links: usize,
    id: ApplianceId,
}

/// The proxy of the zone that a new link leads to; `not` is none of those that are looked at.
pub(super) async fn home(
    context: &mut Context<'_>,
    zone: &ObjectId,
    not: Option<&ApplianceId>,
) -> Result<ApplianceId, Error> {
    let mut candidates = Vec::new();
    for proxy in role::proxies(context, zone).await? {
        if !proxy.draining && not != Some(&proxy.id) {
            candidates.push(candidate(context, proxy).await?);
        }
    }
    if let Some(best) = candidates.into_iter().min() {
        return Ok(best.id);
    }
    let zone: Zone = context.get(zone).await?;
    let reason = format!("zone {} has no console proxy that takes sessions", zone.name);
    Err(rule::invalid("screen", reason))
}

/// Whether browsers find `proxy` and are served there: by a name, and by TLS of its own or of a reverse proxy.
pub(crate) fn serves(proxy: &Appliance) -> bool {
    let secured = proxy.certificate_chain.is_some() || !proxy.trusted_proxies.is_empty();
    secured && !proxy.hosts.is_empty() && proxy.browsed_at().is_some()
}

async fn candidate(context: &mut Context<'_>, proxy: Appliance) -> Result<Candidate, Error> {
    let (shut, id) = (!serves(&proxy), proxy.id);
    let links = context.all::<ConsoleGrant>(&[("router", id.as_str())]).await?.len();
    let seen = observations::read(context.conn, id.as_str()).await?;
    let load = consoles::load(context.conn, id.as_str()).await?.unwrap_or_default();
    Ok(Candidate {
        shut,
        silent: !seen.is_some_and(|seen| seen.reachable),
        full: load.most > 0 && load.sessions >= load.most,
        sessions: load.sessions,
        links,
        id,
    })
}

/// Moves the links of a proxy that takes no new sessions to the others; without others they stay. One that was used is for
/// the browser that used it: with its token alone nobody comes in at its new home.
pub(super) async fn leave(context: &mut Context<'_>, proxy: &Appliance) -> Result<(), Error> {
    for mut grant in context.all::<ConsoleGrant>(&[("router", proxy.id.as_str())]).await? {
        match home(context, &grant.zone, Some(&proxy.id)).await {
            Ok(home) => {
                grant.router = home;
                grant.taken |= consoles::used(context.conn, grant.id.as_str()).await?;
            }
            Err(Error::Invalid { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        context.save(&grant).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (any::<[bool; 3]>(), 0_u64..500, 0_usize..500);
        proptest::collection::vec(one, 1..8).prop_map(|all| {
            let numbered = (1..).zip(all);
            numbered
                .map(|(number, ([shut, silent, full], sessions, links))| Candidate {
                    shut,
                    silent,
                    full,
                    sessions,
                    links,
                    id: format!("p-{number}").parse().unwrap(),
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn of_those_that_serve_answer_and_have_room_the_least_loaded_is_chosen(all in candidates()) {
            let best = all.iter().min().unwrap();
            let good = || all.iter().filter(|it| !it.shut && !it.silent && !it.full);
            if let Some(least) = good().map(|it| it.sessions).min() {
                prop_assert!(!best.shut && !best.silent && !best.full);
                prop_assert_eq!(best.sessions, least);
            }
        }
    }
}
