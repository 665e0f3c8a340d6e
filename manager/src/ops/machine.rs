//! An appliance's machine: how it is reached, and what it boots with.

use std::net::IpAddr;

use sluice_api::boot::{BootControl, BootDocument};
use sluice_api::types::{FormatVersion, ObjectId, Secret};

use crate::ca::Authority;
use crate::error::Error;
use crate::kinds::appliance::{Appliance, NicPurpose};
use crate::kinds::zone::Zone;
use crate::kinds::{Context, dynamic};
use crate::model::EndpointSpec;
use crate::store::{Conn, Scope, wanted};

pub(super) async fn endpoint(
    context: &mut Context<'_>,
    name: &ObjectId,
    spec: &EndpointSpec,
) -> Result<Appliance, Error> {
    let mut appliance: Appliance = context.find(None, name).await?;
    if spec.address.is_some_and(|address| address.port() == 0) {
        return Err(Error::Invalid { field: "address", reason: "port 0 is not a port".into() });
    }
    appliance.endpoint = spec.address;
    context.save(&appliance).await?;
    Ok(appliance)
}

/// 256 random bits.
fn fresh_key() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A boot document with a fresh certificate. Earlier certificates stay good until they end.
pub async fn boot_document(
    conn: &mut Conn,
    authority: &Authority,
    scope: Scope<'_>,
    name: &ObjectId,
) -> Result<BootDocument, Error> {
    let appliance: Appliance = dynamic::find(conn, scope, name).await?;
    let zone: Zone = dynamic::by_id(conn, &appliance.zone).await?;
    let mac = appliance.nics.iter().find(|nic| nic.purpose == NicPurpose::Control);
    let mac = mac.ok_or(Error::Corrupt { what: "NICs", reason: "no control NIC".into() })?.mac;
    let issued = authority.appliance(&appliance.id)?;
    let id = appliance.id.as_str();
    wanted::add_certificate(conn, id, issued.until, &issued.key).await?;
    wanted::set_trusted(conn, id, &authority.trusted()).await?;
    let seal_key = wanted::seal_key(conn, id, &fresh_key()).await?;
    let incarnation = wanted::next_incarnation(conn, id).await?;
    let control = BootControl {
        mac,
        address: appliance.control,
        gateway: zone.control_gateway.map(IpAddr::V4),
        mtu: None,
    };
    Ok(BootDocument {
        version: FormatVersion,
        role: appliance.role,
        appliance: appliance.id,
        control,
        identity: issued.identity,
        seal_key: Some(Secret::new(seal_key)),
        incarnation,
    })
}
