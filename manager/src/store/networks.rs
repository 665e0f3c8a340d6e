//! Guest networks.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::row::{number, optional_number, parsed, to_word, word};
use crate::error::Error;
use crate::model::Network;

const SELECT: &str =
    "SELECT n.*, a.id AS router FROM networks n JOIN appliances a ON a.network = n.id
     WHERE $1 IS NULL OR n.id = $1 ORDER BY n.zone, n.name";

/// Networks by zone and name, each with its router; `id` narrows it to one.
pub async fn networks(
    conn: &mut SqliteConnection,
    id: Option<&str>,
) -> Result<Vec<Network>, Error> {
    let rows = sqlx::query(SELECT).bind(id).fetch_all(conn).await?;
    rows.iter().map(network).collect()
}

fn network(row: &SqliteRow) -> Result<Network, Error> {
    Ok(Network {
        id: parsed(row, "id")?,
        zone: parsed(row, "zone")?,
        physical_network: parsed(row, "physical_network")?,
        public_range: parsed(row, "public_range")?,
        name: parsed(row, "name")?,
        domain: parsed(row, "domain")?,
        cidr: parsed(row, "cidr")?,
        gateway: parsed(row, "gateway")?,
        egress: word(row, "egress")?,
        vlan: number(row, "vlan")?,
        source_nat: parsed(row, "source_nat")?,
        lease_seconds: number(row, "lease_seconds")?,
        mtu: optional_number(row, "mtu")?,
        router: parsed(row, "router")?,
    })
}

/// Writes a network; false when its name is taken in the zone.
pub async fn insert(conn: &mut SqliteConnection, network: &Network) -> Result<bool, Error> {
    let done = sqlx::query(
        "INSERT INTO networks (id, zone, physical_network, public_range, name, domain, cidr,
             gateway, egress, vlan, source_nat, lease_seconds, mtu)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING",
    )
    .bind(network.id.as_str())
    .bind(network.zone.as_str())
    .bind(network.physical_network.as_str())
    .bind(network.public_range.as_str())
    .bind(network.name.as_str())
    .bind(network.domain.as_str())
    .bind(network.cidr.to_string())
    .bind(network.gateway.to_string())
    .bind(to_word(&network.egress, "egress")?)
    .bind(i64::from(network.vlan.get()))
    .bind(network.source_nat.to_string())
    .bind(i64::from(network.lease_seconds.get()))
    .bind(network.mtu.map(|mtu| i64::from(mtu.get())))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes what of a network can change.
pub async fn update(conn: &mut SqliteConnection, network: &Network) -> Result<(), Error> {
    sqlx::query("UPDATE networks SET domain = $2, egress = $3, lease_seconds = $4 WHERE id = $1")
        .bind(network.id.as_str())
        .bind(network.domain.as_str())
        .bind(to_word(&network.egress, "egress")?)
        .bind(i64::from(network.lease_seconds.get()))
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes a network; its appliance must have been detached.
pub async fn delete(conn: &mut SqliteConnection, id: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM networks WHERE id = $1").bind(id).execute(conn).await?;
    Ok(())
}
