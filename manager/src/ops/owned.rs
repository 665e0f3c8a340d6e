//! What an earlier configuration has that its appliance may have no longer: somebody else may have been given it since.

use std::collections::BTreeSet;

use sluice_api::ApplianceConfig;
use sluice_api::config::{Attachment, LinkRole};
use sluice_api::types::ApplianceId;

use crate::compile;
use crate::error::Error;
use crate::kinds::appliance::{Appliance, object_id};
use crate::kinds::dynamic;
use crate::store::{Conn, from_json};

/// Refuses a document with a public address or a VLAN that the model gives the appliance no longer.
pub(super) async fn refuse_lost(
    conn: &mut Conn,
    id: &ApplianceId,
    document: &str,
) -> Result<(), Error> {
    let old: ApplianceConfig = from_json(document, "configuration")?;
    let appliance: Appliance = dynamic::by_id(conn, &object_id(id)).await?;
    let now = compile::configuration(conn, &appliance).await?;
    let lost: Vec<_> = had(&old).difference(&had(&now)).cloned().collect();
    if lost.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "generation {} has {}, which {id} has no longer and somebody else may have by now",
        old.generation,
        lost.join(", ")
    );
    Err(Error::Conflict { field: "to", reason })
}

/// Public addresses and VLANs of a configuration, in words.
fn had(config: &ApplianceConfig) -> BTreeSet<String> {
    let addresses = config.links.iter().filter(|link| link.role == LinkRole::Public);
    let addresses = addresses.flat_map(|link| &link.addresses);
    let vlans = config.links.iter().filter_map(|link| match &link.attach {
        Attachment::Vlan { trunk, id, .. } => Some(format!("VLAN {id} of {trunk}")),
        Attachment::Nic { .. } => None,
    });
    addresses.map(|address| address.ip().to_string()).chain(vlans).collect()
}
