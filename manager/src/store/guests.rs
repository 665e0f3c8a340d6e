//! Guests and their NICs.

use std::collections::BTreeMap;

use sluice_api::types::{HostName, ObjectId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::row::parsed;
use crate::error::Error;
use crate::model::{Guest, Network, Nic};

/// Guests by network and name; `network` and `id` narrow it.
pub async fn guests(
    conn: &mut SqliteConnection,
    network: Option<&str>,
    id: Option<&str>,
) -> Result<Vec<Guest>, Error> {
    let rows = sqlx::query(
        "SELECT g.id AS guest_id, g.zone, g.name, n.id, n.network, n.mac, n.address
         FROM guests g JOIN nics n ON n.guest = g.id
         WHERE ($1 IS NULL OR n.network = $1) AND ($2 IS NULL OR g.id = $2)
         ORDER BY n.network, g.name, g.id, n.position",
    )
    .bind(network)
    .bind(id)
    .fetch_all(conn)
    .await?;
    grouped(&rows)
}

fn grouped(rows: &[SqliteRow]) -> Result<Vec<Guest>, Error> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut guests: Vec<Guest> = Vec::new();
    for row in rows {
        let id: String = row.try_get("guest_id")?;
        let nic = nic(row)?;
        if let Some(guest) = places.get(&id).and_then(|place| guests.get_mut(*place)) {
            guest.nics.push(nic);
            continue;
        }
        places.insert(id, guests.len());
        let (zone, name) = (parsed(row, "zone")?, parsed(row, "name")?);
        guests.push(Guest { id: parsed(row, "guest_id")?, zone, name, nics: vec![nic] });
    }
    Ok(guests)
}

fn nic(row: &SqliteRow) -> Result<Nic, Error> {
    Ok(Nic {
        id: parsed(row, "id")?,
        network: parsed(row, "network")?,
        mac: parsed(row, "mac")?,
        address: parsed(row, "address")?,
    })
}

/// The NICs in a network with their host names, by address: what its router serves.
pub async fn nics(
    conn: &mut SqliteConnection,
    network: &ObjectId,
) -> Result<Vec<(HostName, Nic)>, Error> {
    let rows = sqlx::query("SELECT * FROM nics WHERE network = $1")
        .bind(network.as_str())
        .fetch_all(conn)
        .await?;
    let read = |row| Ok((parsed(row, "hostname")?, nic(row)?));
    let mut found = rows.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    found.sort_by_key(|(_, nic)| nic.address);
    Ok(found)
}

/// Writes a guest with its first NIC; false when the name is taken in the network.
pub async fn insert(conn: &mut SqliteConnection, guest: &Guest, nic: &Nic) -> Result<bool, Error> {
    sqlx::query("INSERT INTO guests (id, zone, name) VALUES ($1, $2, $3)")
        .bind(guest.id.as_str())
        .bind(guest.zone.as_str())
        .bind(guest.name.as_str())
        .execute(&mut *conn)
        .await?;
    let done = sqlx::query(
        "INSERT INTO nics (id, guest, network, position, hostname, mac, address)
         VALUES ($1, $2, $3, 0, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(nic.id.as_str())
    .bind(guest.id.as_str())
    .bind(nic.network.as_str())
    .bind(guest.name.as_str())
    .bind(nic.mac.to_string())
    .bind(nic.address.to_string())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// True when `name` is taken in `network`.
pub async fn name_taken(
    conn: &mut SqliteConnection,
    network: &Network,
    name: &HostName,
) -> Result<bool, Error> {
    let found = sqlx::query("SELECT 1 FROM nics WHERE network = $1 AND hostname = $2")
        .bind(network.id.as_str())
        .bind(name.as_str())
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}

/// Gives a guest and its NICs a new name; the caller has made sure that it is free.
pub async fn rename(conn: &mut SqliteConnection, guest: &Guest) -> Result<(), Error> {
    sqlx::query("UPDATE guests SET name = $2 WHERE id = $1")
        .bind(guest.id.as_str())
        .bind(guest.name.as_str())
        .execute(&mut *conn)
        .await?;
    sqlx::query("UPDATE nics SET hostname = $2 WHERE guest = $1")
        .bind(guest.id.as_str())
        .bind(guest.name.as_str())
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes a guest and its NICs.
pub async fn delete(conn: &mut SqliteConnection, id: &ObjectId) -> Result<(), Error> {
    sqlx::query("DELETE FROM guests WHERE id = $1").bind(id.as_str()).execute(conn).await?;
    Ok(())
}
