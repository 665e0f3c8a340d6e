//! Deletions that have to wait until a router let go of what it had.
//!
//! Guarantees: only what nothing but releasing items keeps is put off; what something else uses is left for the
//! deletion itself to refuse.

use std::collections::BTreeSet;

use super::super::{Context, physical, public};
use super::Change;
use crate::error::Error;
use crate::model::AllocationState;
use crate::store::{allocations, networks, zones};

/// What the deletion waits for, for a person; none when it need not wait.
pub(super) async fn reason(
    context: &mut Context<'_>,
    change: &Change,
) -> Result<Option<String>, Error> {
    let Some((what, pools)) = held(context, change).await? else { return Ok(None) };
    let Some(routers) = routers(context, &pools).await? else { return Ok(None) };
    let routers = routers.into_iter().collect::<Vec<_>>().join(", ");
    Ok(Some(format!("{what} waits until {routers} confirmed to have let go of it; then run again")))
}

/// What is to be deleted and the pools whose items keep it; none when a network keeps it, or nothing can.
async fn held(
    context: &mut Context<'_>,
    change: &Change,
) -> Result<Option<(String, Vec<String>)>, Error> {
    let networks = networks::networks(context.conn, None).await?;
    let ranges = zones::public_ranges(context.conn).await?;
    if let Change::DeletePublicRange(id) = change {
        let range = ranges.iter().find(|range| &range.id == id);
        let used = networks.iter().any(|network| &network.public_range == id);
        let pools = vec![public::pool_name(id)];
        return Ok(range
            .filter(|_| !used)
            .map(|range| (format!("public range {}", range.name), pools)));
    }
    let Change::DeletePhysicalNetwork(id) = change else { return Ok(None) };
    let all = zones::physical_networks(context.conn).await?;
    let physical = all.iter().find(|physical| &physical.id == id);
    let used = networks.iter().any(|network| &network.physical_network == id);
    // its ranges went before; one that is still there was put off itself
    let on_it = ranges.iter().filter(|range| &range.physical_network == id);
    let mut pools = vec![physical::pool_name(id)];
    pools.extend(on_it.map(|range| public::pool_name(&range.id)));
    Ok(physical
        .filter(|_| !used)
        .map(|physical| (format!("physical network {}", physical.name), pools)))
}

/// The routers that hold items of `pools`; none when none does, or when an item is in use.
async fn routers(
    context: &mut Context<'_>,
    pools: &[String],
) -> Result<Option<BTreeSet<String>>, Error> {
    let mut routers = BTreeSet::new();
    for pool in pools {
        for item in allocations::list(context.conn, Some(pool)).await? {
            if item.state != AllocationState::Releasing {
                return Ok(None);
            }
            routers.insert(item.appliance.map_or(item.owner, |router| router.to_string()));
        }
    }
    Ok((!routers.is_empty()).then_some(routers))
}
