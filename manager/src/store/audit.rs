//! Who changed what, from where: a line for each change, written in its own transaction; and what appliances told of images
//! and stores, with the report that says so.
//!
//! Guarantees: a change that is in force has its line, one that was refused has none; lines are never changed or deleted.

use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use utoipa::ToSchema;

use super::observations::{now, rfc3339};
use super::row::{from_json, number, to_json};
use super::{Conn, Row};
use crate::access::Caller;
use crate::error::Error;
use crate::hidden;
use crate::ops::Effect;

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    /// Counts the changes of this store.
    pub number: u64,
    /// When, RFC 3339 in UTC.
    pub at: Option<String>,
    /// Who: the name of a token, a user of the manager's machine, or an appliance that told it.
    pub actor: String,
    /// From where: an address, the manager's socket, or a report.
    pub origin: String,
    /// What was done, or what an image or a store became.
    pub what: String,
    /// Which generation of which appliance has it.
    pub effects: Vec<Effect>,
    /// The request's id, if it had one.
    pub request: Option<String>,
}

/// Notes a change.
pub async fn note(
    conn: &mut Conn,
    caller: &Caller,
    what: &str,
    effects: &[Effect],
    request: Option<&str>,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO audit (number, at, actor, origin, what, effects, request)
         SELECT COALESCE(max(number), 0) + 1, $1, $2, $3, $4, $5, $6 FROM audit",
    )
    .bind(now())
    .bind(caller.name.clone())
    .bind(caller.origin.clone())
    .bind(what.to_owned())
    .bind(to_json(&effects, "effects")?)
    .bind(request.map(str::to_owned))
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes before number `before`, the newest first, at most `limit`.
pub async fn list(
    conn: &mut Conn,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<AuditLine>, Error> {
    let rows = sqlx::query("SELECT * FROM audit WHERE number < $1 ORDER BY number DESC LIMIT $2")
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<AuditLine, Error> {
    Ok(AuditLine {
        number: number(row, "number")?,
        at: rfc3339(row.try_get("at")?),
        actor: row.try_get("actor")?,
        origin: row.try_get("origin")?,
        what: hidden::of_line(row.try_get("what")?),
        effects: from_json(&row.try_get::<String, _>("effects")?, "effects")?,
        request: row.try_get("request")?,
    })
}
