//! Appliances: identity, NICs, and the configuration that each should have.

use sluice_api::types::{ApplianceId, Generation, InterfaceAddress, ObjectId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::row::{number, optional, optional_number, parsed, to_word, word};
use crate::error::Error;
use crate::model::{Appliance, ApplianceNic};

/// An appliance with what the store keeps about its configuration.
#[derive(Clone, Debug)]
pub struct ApplianceRow {
    /// The appliance.
    pub appliance: Appliance,
    /// Highest generation that was ever sent to it; none: it knows of nothing.
    pub sent: Option<Generation>,
    /// When the last certificate issued to it ends, Unix seconds; none: it never got one. What it shows may be older.
    pub certificate_until: Option<i64>,
}

/// The configuration that an appliance should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRow {
    /// Its number; 0 only until the first compilation inside the creating transaction.
    pub generation: u64,
    /// Digest of the content without the number.
    pub digest: String,
    /// The document.
    pub config: String,
}

/// Appliances by id; `id` narrows it to one.
pub async fn appliances(
    conn: &mut SqliteConnection,
    id: Option<&str>,
) -> Result<Vec<ApplianceRow>, Error> {
    let rows = sqlx::query("SELECT * FROM appliances WHERE $1 IS NULL OR id = $1 ORDER BY id")
        .bind(id)
        .fetch_all(&mut *conn)
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let nics = nics(conn, row.try_get("id")?).await?;
        found.push(appliance(row, nics)?);
    }
    Ok(found)
}

fn appliance(row: &SqliteRow, nics: Vec<ApplianceNic>) -> Result<ApplianceRow, Error> {
    let appliance = Appliance {
        id: parsed(row, "id")?,
        role: word(row, "role")?,
        zone: parsed(row, "zone")?,
        network: optional(row, "network")?,
        control: parsed::<InterfaceAddress>(row, "control_address")?,
        endpoint: optional(row, "endpoint")?,
        nics,
    };
    let certificate_until = row.try_get("certificate_until")?;
    Ok(ApplianceRow {
        appliance,
        sent: optional_number(row, "sent_generation")?,
        certificate_until,
    })
}

async fn nics(conn: &mut SqliteConnection, id: &str) -> Result<Vec<ApplianceNic>, Error> {
    let rows = sqlx::query("SELECT * FROM appliance_nics WHERE appliance = $1 ORDER BY position")
        .bind(id)
        .fetch_all(conn)
        .await?;
    let read = |row| {
        Ok(ApplianceNic {
            purpose: word(row, "purpose")?,
            physical_network: optional(row, "physical_network")?,
            mac: parsed(row, "mac")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Writes an appliance with its NICs; its configuration follows in the same transaction.
pub async fn insert(conn: &mut SqliteConnection, appliance: &Appliance) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO appliances (id, role, zone, network, control_address,
             wanted_generation, wanted_digest, wanted_config)
         VALUES ($1, $2, $3, $4, $5, 0, '', '')",
    )
    .bind(appliance.id.as_str())
    .bind(appliance.role.as_str())
    .bind(appliance.zone.as_str())
    .bind(appliance.network.as_ref().map(ObjectId::as_str))
    .bind(appliance.control.to_string())
    .execute(&mut *conn)
    .await?;
    for (position, nic) in (0_i64..).zip(&appliance.nics) {
        insert_nic(conn, appliance, position, nic).await?;
    }
    Ok(())
}

async fn insert_nic(
    conn: &mut SqliteConnection,
    appliance: &Appliance,
    position: i64,
    nic: &ApplianceNic,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO appliance_nics (appliance, position, purpose, physical_network, mac)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(appliance.id.as_str())
    .bind(position)
    .bind(to_word(&nic.purpose, "purpose")?)
    .bind(nic.physical_network.as_ref().map(ObjectId::as_str))
    .bind(nic.mac.to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// What an appliance should have, or `None` when it is gone.
pub async fn wanted(conn: &mut SqliteConnection, id: &str) -> Result<Option<WantedRow>, Error> {
    let row = sqlx::query(
        "SELECT wanted_generation, wanted_digest, wanted_config FROM appliances WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read_wanted).transpose()
}

fn read_wanted(row: &SqliteRow) -> Result<WantedRow, Error> {
    Ok(WantedRow {
        generation: number(row, "wanted_generation")?,
        digest: row.try_get("wanted_digest")?,
        config: row.try_get("wanted_config")?,
    })
}

/// Id of every appliance, in order: those that the watch needs a task for.
pub async fn ids(conn: &mut SqliteConnection) -> Result<Vec<ApplianceId>, Error> {
    let rows = sqlx::query("SELECT id FROM appliances ORDER BY id").fetch_all(conn).await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}

/// Writes what an appliance should have.
pub async fn set_wanted(
    conn: &mut SqliteConnection,
    id: &str,
    wanted: &WantedRow,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE appliances SET wanted_generation = $2, wanted_digest = $3, wanted_config = $4
         WHERE id = $1",
    )
    .bind(id)
    .bind(i64::try_from(wanted.generation).unwrap_or(i64::MAX))
    .bind(&wanted.digest)
    .bind(&wanted.config)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that `generation` is about to be sent; false when something else is wanted by now, and it must not be.
pub async fn note_sent(
    conn: &mut SqliteConnection,
    id: &str,
    generation: Generation,
) -> Result<bool, Error> {
    let number = i64::try_from(generation.get()).unwrap_or(i64::MAX);
    let done = sqlx::query(
        "UPDATE appliances SET sent_generation = $2 WHERE id = $1 AND wanted_generation = $2",
    )
    .bind(id)
    .bind(number)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Sets where the appliance is reached.
pub async fn set_endpoint(conn: &mut SqliteConnection, appliance: &Appliance) -> Result<(), Error> {
    sqlx::query("UPDATE appliances SET endpoint = $2 WHERE id = $1")
        .bind(appliance.id.as_str())
        .bind(appliance.endpoint.map(|endpoint| endpoint.to_string()))
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes when the last certificate issued to the appliance ends; Unix seconds.
pub async fn set_certificate(
    conn: &mut SqliteConnection,
    id: &str,
    until: i64,
) -> Result<(), Error> {
    sqlx::query("UPDATE appliances SET certificate_until = $2 WHERE id = $1")
        .bind(id)
        .bind(until)
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes the appliance's network away from it.
pub async fn detach(conn: &mut SqliteConnection, id: &str) -> Result<(), Error> {
    sqlx::query("UPDATE appliances SET network = NULL WHERE id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets an appliance.
pub async fn delete(conn: &mut SqliteConnection, id: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM appliances WHERE id = $1").bind(id).execute(conn).await?;
    Ok(())
}
