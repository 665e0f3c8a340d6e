//! Zones, physical networks and public ranges; and how names are resolved and ids made.

use sluice_api::types::ObjectId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::row::{json, number, optional, optional_number, parsed, to_json};
use crate::error::Error;
use crate::model::{PhysicalNetwork, PublicRange, VlanRange, Zone};

/// The next id with `prefix`, such as `n-7`; ids are never used twice.
pub async fn next_id(conn: &mut SqliteConnection, prefix: &'static str) -> Result<String, Error> {
    let row = sqlx::query(
        "INSERT INTO sequences (name, last) VALUES ($1, 1)
         ON CONFLICT (name) DO UPDATE SET last = sequences.last + 1 RETURNING last",
    )
    .bind(prefix)
    .fetch_one(conn)
    .await?;
    Ok(format!("{prefix}-{}", row.try_get::<i64, _>(0)?))
}

/// A checked id out of generated text.
pub fn object_id(text: &str) -> Result<ObjectId, Error> {
    text.parse().map_err(|error: sluice_api::types::InvalidValue| Error::Corrupt {
        what: "id",
        reason: error.to_string(),
    })
}

/// All zones by name.
pub async fn zones(conn: &mut SqliteConnection) -> Result<Vec<Zone>, Error> {
    let rows = sqlx::query("SELECT * FROM zones ORDER BY name").fetch_all(conn).await?;
    rows.iter().map(zone).collect()
}

fn zone(row: &SqliteRow) -> Result<Zone, Error> {
    Ok(Zone {
        id: parsed(row, "id")?,
        name: parsed(row, "name")?,
        resolvers: json(row, "resolvers")?,
        guest_cidr: parsed(row, "guest_cidr")?,
        control_cidr: parsed(row, "control_cidr")?,
        control_gateway: optional(row, "control_gateway")?,
        managers: json(row, "managers")?,
    })
}

/// Writes a zone; false when its name is taken.
pub async fn insert_zone(conn: &mut SqliteConnection, zone: &Zone) -> Result<bool, Error> {
    let done = sqlx::query(
        "INSERT INTO zones (id, name, resolvers, guest_cidr, control_cidr, control_gateway, managers)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(zone.id.as_str())
    .bind(zone.name.as_str())
    .bind(to_json(&zone.resolvers, "resolvers")?)
    .bind(zone.guest_cidr.to_string())
    .bind(zone.control_cidr.to_string())
    .bind(zone.control_gateway.map(|gateway| gateway.to_string()))
    .bind(to_json(&zone.managers, "managers")?)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes what of a zone can change.
pub async fn update_zone(conn: &mut SqliteConnection, zone: &Zone) -> Result<(), Error> {
    sqlx::query("UPDATE zones SET resolvers = $2 WHERE id = $1")
        .bind(zone.id.as_str())
        .bind(to_json(&zone.resolvers, "resolvers")?)
        .execute(conn)
        .await?;
    Ok(())
}

/// All physical networks by zone and name.
pub async fn physical_networks(conn: &mut SqliteConnection) -> Result<Vec<PhysicalNetwork>, Error> {
    let ranges = sqlx::query("SELECT * FROM vlan_ranges ORDER BY physical_network, first")
        .fetch_all(&mut *conn)
        .await?;
    let rows =
        sqlx::query("SELECT * FROM physical_networks ORDER BY zone, name").fetch_all(conn).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: ObjectId = parsed(row, "id")?;
        let mut vlans = Vec::new();
        for range in &ranges {
            if range.try_get::<&str, _>("physical_network")? == id.as_str() {
                vlans.push(vlan_range(range)?);
            }
        }
        let (zone, name) = (parsed(row, "zone")?, parsed(row, "name")?);
        found.push(PhysicalNetwork { id, zone, name, vlans, mtu: number(row, "mtu")? });
    }
    Ok(found)
}

fn vlan_range(row: &SqliteRow) -> Result<VlanRange, Error> {
    VlanRange::new(number(row, "first")?, number(row, "last")?)
        .ok_or(Error::Corrupt { what: "VLAN range", reason: "it is empty".to_owned() })
}

/// Writes a physical network; false when its name is taken in the zone.
pub async fn insert_physical_network(
    conn: &mut SqliteConnection,
    network: &PhysicalNetwork,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "INSERT INTO physical_networks (id, zone, name, mtu)
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(network.id.as_str())
    .bind(network.zone.as_str())
    .bind(network.name.as_str())
    .bind(i64::from(network.mtu.get()))
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    write_vlans(conn, network).await?;
    Ok(true)
}

/// Replaces the VLAN ranges of a physical network.
pub async fn write_vlans(
    conn: &mut SqliteConnection,
    network: &PhysicalNetwork,
) -> Result<(), Error> {
    sqlx::query("DELETE FROM vlan_ranges WHERE physical_network = $1")
        .bind(network.id.as_str())
        .execute(&mut *conn)
        .await?;
    for range in &network.vlans {
        sqlx::query("INSERT INTO vlan_ranges (physical_network, first, last) VALUES ($1, $2, $3)")
            .bind(network.id.as_str())
            .bind(i64::from(range.first().get()))
            .bind(i64::from(range.last().get()))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// All public ranges by zone and name.
pub async fn public_ranges(conn: &mut SqliteConnection) -> Result<Vec<PublicRange>, Error> {
    let rows =
        sqlx::query("SELECT * FROM public_ranges ORDER BY zone, name").fetch_all(conn).await?;
    rows.iter().map(public_range).collect()
}

fn public_range(row: &SqliteRow) -> Result<PublicRange, Error> {
    Ok(PublicRange {
        id: parsed(row, "id")?,
        zone: parsed(row, "zone")?,
        physical_network: parsed(row, "physical_network")?,
        name: parsed(row, "name")?,
        vlan: optional_number(row, "vlan")?,
        cidr: parsed(row, "cidr")?,
        gateway: parsed(row, "gateway")?,
        start: parsed(row, "first")?,
        end: parsed(row, "last")?,
    })
}

/// Writes a public range; false when its name is taken in the zone.
pub async fn insert_public_range(
    conn: &mut SqliteConnection,
    range: &PublicRange,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "INSERT INTO public_ranges
             (id, zone, physical_network, name, vlan, cidr, gateway, first, last)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
    )
    .bind(range.id.as_str())
    .bind(range.zone.as_str())
    .bind(range.physical_network.as_str())
    .bind(range.name.as_str())
    .bind(range.vlan.map(|vlan| i64::from(vlan.get())))
    .bind(range.cidr.to_string())
    .bind(range.gateway.to_string())
    .bind(range.start.to_string())
    .bind(range.end.to_string())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a zone, physical network or public range that nothing refers to.
pub async fn delete(
    conn: &mut SqliteConnection,
    statement: &'static str,
    id: &str,
) -> Result<(), Error> {
    sqlx::query(statement).bind(id).execute(conn).await?;
    Ok(())
}
