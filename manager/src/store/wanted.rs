//! What each appliance should have, every configuration that it was ever to have, and what was sent of it.

use sluice_api::types::{ApplianceId, Generation};
use sqlx::Row as _;

use super::row::{number, optional_number, parsed};
use super::{Conn, Row};
use crate::error::Error;

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

/// Who wanted a configuration, and why.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// Who.
    pub actor: &'a str,
    /// Why, for a person.
    pub reason: &'a str,
}

/// What is known of an appliance's machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineRow {
    /// Highest generation that was ever sent to it; none: it knows of nothing.
    pub sent: Option<Generation>,
    /// When the last certificate issued to it ends, Unix seconds; none: it never got one. What it shows may be older.
    pub certificate_until: Option<i64>,
}

/// Begins with an appliance that has no configuration yet.
pub async fn insert(conn: &mut Conn, id: &str) -> Result<(), Error> {
    sqlx::query("INSERT INTO wanted (appliance, generation, digest) VALUES ($1, 0, '')")
        .bind(id.to_owned())
        .execute(conn)
        .await?;
    Ok(())
}

/// What an appliance should have, or `None` when it is gone.
pub async fn wanted(conn: &mut Conn, id: &str) -> Result<Option<WantedRow>, Error> {
    let row = sqlx::query(
        "SELECT w.generation, w.digest, c.document FROM wanted w
         LEFT JOIN configurations c ON c.appliance = w.appliance AND c.generation = w.generation
         WHERE w.appliance = $1",
    )
    .bind(id.to_owned())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read_wanted).transpose()
}

fn read_wanted(row: &Row) -> Result<WantedRow, Error> {
    Ok(WantedRow {
        generation: number(row, "generation")?,
        digest: row.try_get("digest")?,
        config: row.try_get::<Option<String>, _>("document")?.unwrap_or_default(),
    })
}

/// Id of every appliance: those that the watch needs a task for.
pub async fn ids(conn: &mut Conn) -> Result<Vec<ApplianceId>, Error> {
    let rows = sqlx::query("SELECT appliance FROM wanted").fetch_all(conn).await?;
    rows.iter().map(|row| parsed(row, "appliance")).collect()
}

/// Writes what an appliance should have from now on, and keeps it for ever.
pub async fn set(
    conn: &mut Conn,
    id: &str,
    wanted: &WantedRow,
    cause: Cause<'_>,
) -> Result<(), Error> {
    let number = i64::try_from(wanted.generation).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO configurations (appliance, generation, digest, document, at, actor, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.to_owned())
    .bind(number)
    .bind(wanted.digest.clone())
    .bind(wanted.config.clone())
    .bind(super::observations::now())
    .bind(cause.actor.to_owned())
    .bind(cause.reason.to_owned())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE wanted SET generation = $2, digest = $3, pinned = NULL WHERE appliance = $1",
    )
    .bind(id.to_owned())
    .bind(number)
    .bind(wanted.digest.clone())
    .execute(conn)
    .await?;
    Ok(())
}

/// Says why the content that is wanted is not what the model makes.
pub async fn pin(conn: &mut Conn, id: &str, why: &str) -> Result<(), Error> {
    sqlx::query("UPDATE wanted SET pinned = $2 WHERE appliance = $1")
        .bind(id)
        .bind(why)
        .execute(conn)
        .await?;
    Ok(())
}

/// Appliances whose wanted content is what the model makes.
pub async fn unpinned(conn: &mut Conn) -> Result<Vec<ApplianceId>, Error> {
    let rows =
        sqlx::query("SELECT appliance FROM wanted WHERE pinned IS NULL").fetch_all(conn).await?;
    rows.iter().map(|row| parsed(row, "appliance")).collect()
}

/// The highest number that a configuration of this appliance ever had.
pub async fn highest(conn: &mut Conn, id: &str) -> Result<u64, Error> {
    let row = sqlx::query(
        "SELECT COALESCE(max(generation), 0) AS highest FROM configurations WHERE appliance = $1",
    )
    .bind(id)
    .fetch_one(conn)
    .await?;
    number(&row, "highest")
}

/// Has the wanted configuration sent again that was undone.
pub async fn forget_outcome(conn: &mut Conn, id: &str) -> Result<(), Error> {
    sqlx::query(
        "UPDATE configurations SET outcome = NULL, detail = NULL, findings = NULL, settled = NULL
         WHERE appliance = $1
             AND generation = (SELECT generation FROM wanted WHERE appliance = $1)",
    )
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

/// What is known of the machine; none when the appliance is gone.
pub async fn machine(conn: &mut Conn, id: &str) -> Result<Option<MachineRow>, Error> {
    let row =
        sqlx::query("SELECT sent_generation, certificate_until FROM wanted WHERE appliance = $1")
            .bind(id.to_owned())
            .fetch_optional(conn)
            .await?;
    let read = |row: Row| {
        Ok(MachineRow {
            sent: optional_number(&row, "sent_generation")?,
            certificate_until: row.try_get("certificate_until")?,
        })
    };
    row.map(read).transpose()
}

/// Notes that `generation` is about to be sent; false when something else is wanted by now, and it must not be.
pub async fn note_sent(conn: &mut Conn, id: &str, generation: Generation) -> Result<bool, Error> {
    let number = i64::try_from(generation.get()).unwrap_or(i64::MAX);
    let done = sqlx::query(
        "UPDATE wanted SET sent_generation = $2 WHERE appliance = $1 AND generation = $2",
    )
    .bind(id.to_owned())
    .bind(number)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes when the last certificate issued to the appliance ends; Unix seconds.
pub async fn set_certificate(conn: &mut Conn, id: &str, until: i64) -> Result<(), Error> {
    sqlx::query("UPDATE wanted SET certificate_until = $2 WHERE appliance = $1")
        .bind(id.to_owned())
        .bind(until)
        .execute(conn)
        .await?;
    Ok(())
}

/// What secrets on the appliance's disk are sealed with, the same for its whole life; `fresh` becomes it if there is none.
pub async fn seal_key(conn: &mut Conn, id: &str, fresh: &str) -> Result<String, Error> {
    let row = sqlx::query(
        "UPDATE wanted SET seal_key = COALESCE(seal_key, $2) WHERE appliance = $1
         RETURNING seal_key",
    )
    .bind(id)
    .bind(fresh)
    .fetch_one(conn)
    .await?;
    Ok(row.try_get("seal_key")?)
}
