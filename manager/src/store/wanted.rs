//! What each appliance should have, every configuration that it was ever to have, and what was sent of it.

use sluice_api::types::{ApplianceId, Generation};
use sqlx::Row as _;

use super::packed::{packed, unpacked};
use super::row::{from_json, number, optional_number, parsed, to_json};
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
    /// Digests of the public keys of the last certificates issued to it, the newest last.
    pub certificate_keys: Vec<String>,
    /// Digest of the authorities that it was told to trust last.
    pub authorities: Option<String>,
    /// Number of the newest boot document that was seen in use.
    pub incarnation_seen: u64,
    /// The machine that was seen last is a console proxy's that cannot ask whether a screen is still its VM's. One that was
    /// never seen can.
    pub cannot_ask: bool,
}

/// How many keys of an appliance are remembered: boot documents that were never used and renewals.
const KEYS: usize = 16;

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
        config: unpacked(row.try_get::<Option<String>, _>("document")?.unwrap_or_default())?,
    })
}

/// What decides about the next configuration of an appliance; the document itself, which may be large, stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Number of the wanted one; 0: there is none yet.
    pub generation: u64,
    /// Digest of its content without the number.
    pub digest: String,
    /// The highest number that was promised.
    pub promised: u64,
    /// Something was promised and is yet to be compiled.
    pub dirty: bool,
    /// How often something was promised.
    pub touched: u64,
    /// Highest generation that was ever sent to the machine.
    pub sent: Option<Generation>,
}

impl State {
    /// True when nothing was promised and nothing was written between the two.
    pub fn same_as(&self, other: &Self) -> bool {
        // what was sent meanwhile says nothing of what is wanted
        *self == Self { sent: self.sent, ..other.clone() }
    }
}

/// What decides about the next configuration; none when the appliance is gone.
pub async fn state(conn: &mut Conn, id: &str) -> Result<Option<State>, Error> {
    let row = sqlx::query(
        "SELECT generation, digest, promised, dirty, touched, sent_generation FROM wanted
         WHERE appliance = $1",
    )
    .bind(id.to_owned())
    .fetch_optional(conn)
    .await?;
    let read = |row: Row| {
        Ok(State {
            generation: number(&row, "generation")?,
            digest: row.try_get("digest")?,
            promised: number(&row, "promised")?,
            dirty: row.try_get::<Option<String>, _>("dirty")?.is_some(),
            touched: number(&row, "touched")?,
            sent: optional_number(&row, "sent_generation")?,
        })
    };
    row.map(read).transpose()
}

/// Appliances that may have a machine, since they got a certificate: those that the watch needs a task for.
pub async fn with_machine(conn: &mut Conn) -> Result<Vec<ApplianceId>, Error> {
    let rows = sqlx::query("SELECT appliance FROM wanted WHERE certificate_until IS NOT NULL")
        .fetch_all(conn)
        .await?;
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
    .bind(packed(&wanted.config))
    .bind(super::observations::now())
    .bind(cause.actor.to_owned())
    .bind(cause.reason.to_owned())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE wanted SET generation = $2, digest = $3, pinned = NULL, dirty = NULL,
             dirty_actor = NULL
         WHERE appliance = $1",
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

/// True when the content that is wanted is not what the model makes.
pub async fn is_pinned(conn: &mut Conn, id: &str) -> Result<bool, Error> {
    let found = sqlx::query("SELECT 1 FROM wanted WHERE appliance = $1 AND pinned IS NOT NULL")
        .bind(id)
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
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

/// What is known of the machine; none when the appliance is gone.
pub async fn machine(conn: &mut Conn, id: &str) -> Result<Option<MachineRow>, Error> {
    let row = sqlx::query("SELECT * FROM wanted WHERE appliance = $1")
        .bind(id.to_owned())
        .fetch_optional(conn)
        .await?;
    let read = |row: Row| {
        let keys: Option<String> = row.try_get("certificate_keys")?;
        Ok(MachineRow {
            sent: optional_number(&row, "sent_generation")?,
            certificate_until: row.try_get("certificate_until")?,
            certificate_keys: keys
                .map(|keys| from_json(&keys, "certificate keys"))
                .transpose()?
                .unwrap_or_default(),
            authorities: row.try_get("authorities")?,
            incarnation_seen: number(&row, "incarnation_seen")?,
            cannot_ask: row.try_get::<i64, _>("cannot_ask")? != 0,
        })
    };
    row.map(read).transpose()
}

/// The number of a new boot document.
pub async fn next_incarnation(conn: &mut Conn, id: &str) -> Result<u64, Error> {
    let row = sqlx::query(
        "UPDATE wanted SET incarnation = incarnation + 1 WHERE appliance = $1
         RETURNING incarnation",
    )
    .bind(id.to_owned())
    .fetch_one(conn)
    .await?;
    number(&row, "incarnation")
}

/// Notes that a machine with this boot document was seen; the highest one counts.
pub async fn see_incarnation(conn: &mut Conn, id: &str, seen: u64) -> Result<(), Error> {
    sqlx::query(
        "UPDATE wanted SET incarnation_seen = $2 WHERE appliance = $1 AND incarnation_seen < $2",
    )
    .bind(id.to_owned())
    .bind(i64::try_from(seen).unwrap_or(i64::MAX))
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes whether the machine of a console proxy can ask whether a screen is still its VM's.
pub async fn set_cannot_ask(conn: &mut Conn, id: &str, cannot: bool) -> Result<(), Error> {
    sqlx::query("UPDATE wanted SET cannot_ask = $2 WHERE appliance = $1")
        .bind(id.to_owned())
        .bind(i64::from(cannot))
        .execute(conn)
        .await?;
    Ok(())
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

/// Notes a certificate that was issued to the appliance: its end (Unix seconds) and the digest of its key.
pub async fn add_certificate(
    conn: &mut Conn,
    id: &str,
    until: i64,
    key: &str,
) -> Result<(), Error> {
    let mut keys = machine(conn, id).await?.unwrap_or_default().certificate_keys;
    keys.push(key.to_owned());
    let newest = keys.split_off(keys.len().saturating_sub(KEYS));
    sqlx::query(
        "UPDATE wanted SET certificate_until = $2, certificate_keys = $3 WHERE appliance = $1",
    )
    .bind(id.to_owned())
    .bind(until)
    .bind(to_json(&newest, "certificate keys")?)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes which authorities the appliance was told to trust, by their digest.
pub async fn set_trusted(conn: &mut Conn, id: &str, authorities: &str) -> Result<(), Error> {
    sqlx::query("UPDATE wanted SET authorities = $2 WHERE appliance = $1")
        .bind(id.to_owned())
        .bind(authorities.to_owned())
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
