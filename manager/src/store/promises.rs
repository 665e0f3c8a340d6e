//! Configurations that were promised and are yet to be compiled.
//!
//! Guarantees: a promise has a number above all that were given out, and is kept by a configuration of that number or a
//! higher one, or by the word that the one that is wanted has the change in it already.

use sluice_api::types::{ApplianceId, Generation};
use sqlx::Row as _;

use super::Conn;
use super::observations::now;
use super::row::{number, parsed};
use super::wanted::Cause;
use crate::error::Error;

/// What was promised to an appliance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// The highest number that was promised; 0: none ever.
    pub promised: u64,
    /// The highest number that the wanted configuration has in it without having it.
    pub covered: u64,
    /// Who wanted what is yet to be compiled, and why.
    pub dirty: Option<(String, String)>,
}

/// Promises `number`.
pub async fn make(conn: &mut Conn, id: &str, number: u64, cause: Cause<'_>) -> Result<(), Error> {
    sqlx::query(
        "UPDATE wanted SET promised = $2, dirty = $3, dirty_actor = $4, touched = touched + 1
         WHERE appliance = $1",
    )
    .bind(id.to_owned())
    .bind(i64::try_from(number).unwrap_or(i64::MAX))
    .bind(cause.reason.to_owned())
    .bind(cause.actor.to_owned())
    .execute(conn)
    .await?;
    Ok(())
}

/// What was promised to an appliance.
pub async fn of(conn: &mut Conn, id: &str) -> Result<Promise, Error> {
    let row = sqlx::query(
        "SELECT promised, covered, dirty, dirty_actor FROM wanted WHERE appliance = $1",
    )
    .bind(id.to_owned())
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(Promise::default()) };
    let reason: Option<String> = row.try_get("dirty")?;
    let actor: Option<String> = row.try_get("dirty_actor")?;
    Ok(Promise {
        promised: number(&row, "promised")?,
        covered: number(&row, "covered")?,
        dirty: reason.map(|reason| (actor.unwrap_or_default(), reason)),
    })
}

/// The wanted configuration, `generation`, has in it all that was promised; what is being released waits for it alone.
pub async fn cover(conn: &mut Conn, id: &str, generation: Generation) -> Result<(), Error> {
    let number = i64::try_from(generation.get()).unwrap_or(i64::MAX);
    sqlx::query(
        "UPDATE wanted SET covered = promised, dirty = NULL, dirty_actor = NULL
         WHERE appliance = $1",
    )
    .bind(id.to_owned())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE allocations SET release_generation = $2
         WHERE appliance = $1 AND state = 'releasing' AND release_generation > $2",
    )
    .bind(id.to_owned())
    .bind(number)
    .execute(conn)
    .await?;
    Ok(())
}

/// How long a worker has for what it leased, in seconds; one that died is not waited for any longer.
const LEASE: i64 = 20;

/// Leases some of the appliances that are yet to be compiled and that nobody has leased.
pub async fn lease(conn: &mut Conn, limit: i64) -> Result<Vec<ApplianceId>, Error> {
    let rows = sqlx::query(
        "UPDATE wanted SET leased_until = $1 WHERE appliance IN
             (SELECT appliance FROM wanted WHERE dirty IS NOT NULL AND leased_until <= $2 LIMIT $3)
         RETURNING appliance",
    )
    .bind(now() + LEASE)
    .bind(now())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| parsed(row, "appliance")).collect()
}

/// Gives back what was leased: kept, or to be compiled again.
pub async fn end_leases(conn: &mut Conn, leased: &[ApplianceId]) -> Result<(), Error> {
    for id in leased {
        sqlx::query("UPDATE wanted SET leased_until = 0 WHERE appliance = $1")
            .bind(id.as_str().to_owned())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Some of the appliances that are yet to be compiled.
pub async fn open(conn: &mut Conn, limit: i64) -> Result<Vec<ApplianceId>, Error> {
    let rows = sqlx::query("SELECT appliance FROM wanted WHERE dirty IS NOT NULL LIMIT $1")
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| parsed(row, "appliance")).collect()
}
