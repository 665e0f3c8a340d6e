//! The end of a change: each touched appliance gets the configuration that follows, with a higher number if it differs.

use sluice_api::config::{Guest, RouterConfig};
use sluice_api::types::{Generation, ObjectId};
use sluice_api::{Digest, Finding};
use sqlx::SqliteConnection;

use super::Context;
use crate::compile::{self, Carrier, NetworkModel, PublicModel, RouterModel};
use crate::error::Error;
use crate::model::{Appliance, Network, NicPurpose, PhysicalNetwork, PublicRange};
use crate::store::{WantedRow, row_json};
use crate::store::{allocations, appliances, guests, networks, zones};

/// Compiles every touched appliance that still exists.
pub(super) async fn settle(context: &mut Context<'_>) -> Result<(), Error> {
    for id in context.touched.clone() {
        if let Some(row) = appliances::appliances(context.conn, Some(&id)).await?.pop() {
            recompile(context.conn, &row.appliance).await?;
            let wanted = appliances::wanted(context.conn, &id).await?;
            let generation = wanted.map_or(0, |wanted| wanted.generation);
            let number = i64::try_from(generation).unwrap_or(i64::MAX);
            allocations::stamp(context.conn, &id, number).await?;
            if row.sent.is_none() {
                // it was never told of anything, so nothing has to be forgotten
                allocations::free(context.conn, &id, number).await?;
            }
        }
    }
    Ok(())
}

async fn recompile(conn: &mut SqliteConnection, appliance: &Appliance) -> Result<(), Error> {
    let id = appliance.id.as_str();
    let model = load(conn, appliance).await?;
    let mut config = compile(&model)?;
    let digest = digest(&config)?;
    let old = appliances::wanted(conn, id).await?;
    let generation = old.as_ref().map_or(0, |wanted| wanted.generation);
    if old.is_some_and(|wanted| wanted.digest == digest) {
        return Ok(());
    }
    let findings = config.check();
    if Finding::any_error(&findings) {
        return Err(Error::Rejected(findings));
    }
    config.generation = after(generation)?;
    write(conn, id, &config, digest).await
}

fn compile(model: &RouterModel) -> Result<RouterConfig, Error> {
    compile::router(model, Generation::MIN)
        .map_err(|error| Error::Corrupt { what: "model", reason: crate::push::chain(&error) })
}

/// Digest of the content: the number is the same for all.
fn digest(config: &RouterConfig) -> Result<String, Error> {
    let digest = Digest::of(config)
        .map_err(|error| Error::Corrupt { what: "configuration", reason: error.to_string() })?;
    Ok(digest.as_str().to_owned())
}

fn after(generation: u64) -> Result<Generation, Error> {
    Generation::try_from(generation.saturating_add(1))
        .map_err(|error| Error::Corrupt { what: "generation", reason: error.to_string() })
}

async fn write(
    conn: &mut SqliteConnection,
    id: &str,
    config: &RouterConfig,
    digest: String,
) -> Result<(), Error> {
    let generation = config.generation.get();
    let wanted = WantedRow { generation, digest, config: row_json(config, "configuration")? };
    appliances::set_wanted(conn, id, &wanted).await
}

/// Gives the wanted configuration a number above `seen`, which the appliance has from elsewhere (a store that was put
/// back to an older state); the content stays. Returns false when a higher number is wanted already.
pub async fn raise(conn: &mut SqliteConnection, id: &str, seen: Generation) -> Result<bool, Error> {
    let Some(wanted) = appliances::wanted(conn, id).await? else { return Ok(false) };
    if wanted.generation > seen.get() {
        return Ok(false);
    }
    let corrupt = |reason: String| Error::Corrupt { what: "configuration", reason };
    let mut config: RouterConfig =
        serde_json::from_str(&wanted.config).map_err(|error| corrupt(error.to_string()))?;
    config.generation = after(seen.get())?;
    write(conn, id, &config, wanted.digest).await?;
    Ok(true)
}

async fn load(conn: &mut SqliteConnection, appliance: &Appliance) -> Result<RouterModel, Error> {
    let zone = zones::zones(conn).await?.into_iter().find(|zone| zone.id == appliance.zone);
    let zone = zone.ok_or_else(|| missing("zone", &appliance.zone))?;
    let physical = zones::physical_networks(conn).await?;
    let ranges = zones::public_ranges(conn).await?;
    let mut served = Vec::new();
    if let Some(id) = &appliance.network {
        for network in networks::networks(conn, Some(id.as_str())).await? {
            served.push(network_model(conn, &network, &ranges).await?);
        }
    }
    let control = appliance.nics.iter().find(|nic| nic.purpose == NicPurpose::Control);
    Ok(RouterModel {
        appliance: appliance.id.clone(),
        control_mac: control.ok_or_else(|| missing("control NIC", &appliance.zone))?.mac,
        control: appliance.control,
        control_gateway: zone.control_gateway,
        managers: zone.managers,
        resolvers: zone.resolvers,
        carriers: carriers(appliance, &physical, served.is_empty()),
        networks: served,
    })
}

fn missing(what: &'static str, id: &ObjectId) -> Error {
    Error::Corrupt { what, reason: format!("{id} refers to none") }
}

/// The NICs that carry something; a router without networks uses none but control.
fn carriers(appliance: &Appliance, physical: &[PhysicalNetwork], idle: bool) -> Vec<Carrier> {
    let carrier = |nic: &crate::model::ApplianceNic| {
        let network = physical.iter().find(|net| Some(&net.id) == nic.physical_network.as_ref())?;
        Some(Carrier {
            physical_network: network.id.clone(),
            tagged: nic.purpose == NicPurpose::Trunk,
            mac: nic.mac,
            mtu: network.mtu,
        })
    };
    if idle { Vec::new() } else { appliance.nics.iter().filter_map(carrier).collect() }
}

async fn network_model(
    conn: &mut SqliteConnection,
    network: &Network,
    ranges: &[PublicRange],
) -> Result<NetworkModel, Error> {
    let range = ranges.iter().find(|range| range.id == network.public_range);
    let range = range.ok_or_else(|| missing("public range", &network.id))?;
    let nics = guests::nics(conn, &network.id).await?.into_iter();
    let guest = |(hostname, nic): (_, crate::model::Nic)| Guest {
        id: nic.id,
        mac: nic.mac,
        address: nic.address,
        hostname,
    };
    Ok(NetworkModel {
        id: network.id.clone(),
        physical_network: network.physical_network.clone(),
        vlan: network.vlan,
        cidr: network.cidr,
        gateway: network.gateway,
        domain: network.domain.clone(),
        egress: network.egress,
        lease_seconds: network.lease_seconds,
        mtu: network.mtu,
        public: PublicModel {
            physical_network: range.physical_network.clone(),
            vlan: range.vlan,
            cidr: range.cidr,
            address: network.source_nat,
            gateway: range.gateway,
        },
        guests: nics.map(guest).collect(),
    })
}
