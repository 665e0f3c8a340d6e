//! The whole store as lines of JSON, and a new store out of them.
//!
//! Guarantees: what is written is the state of one moment, and names its own end, so that a file that broke off is known
//! as such; a back-up of an earlier build can be put back by any later one, and that of a file into a database. A restored
//! store has another epoch, pushes nothing until somebody says so, and uses no id again that was given out after the
//! back-up. What was seen of appliances is left out: it would be old.
//!
//! Rejected: a copy of the database's own files, of which there are several while a manager runs, and which another
//! database cannot read.

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::any::AnyTypeInfoKind;
use sqlx::{AssertSqlSafe, Column as _, Row as _, TypeInfo as _, ValueRef as _};
use thiserror::Error as ThisError;
use tokio::sync::mpsc;

use super::facts::{self, Fact};
use super::observations::{now, rfc3339};
use super::{Conn, Location, OpenError, Row, Store};
use crate::error::Error;
use crate::kinds::KINDS;

/// Tables before those of the kinds, which refer to none.
const FIRST: &[&str] = &["sequences", "facts", "blobs"];
/// Tables behind those of the kinds, which may refer to them.
const LAST: &[&str] = &[
    "nics",
    "guest_keypairs",
    "wanted",
    "configurations",
    "found_configurations",
    "allocations",
    "requests",
    "tokens",
    "audit",
    "console_sessions",
];
/// How many ids a restored store leaves out at least, for those that were given out after the back-up.
const GAP: i64 = 10_000;

/// All tables that a back-up has, each behind those that it refers to.
pub fn tables() -> Vec<String> {
    let named = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let kinds = KINDS.iter().map(|kind| kind.table().name);
    named(FIRST).into_iter().chain(kinds).chain(named(LAST)).collect()
}

/// One line of a back-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The first.
    Head(Head),
    /// A row of a table; what is NULL is left out.
    Row(String, Map<String, Value>),
    /// The last: how many rows there were.
    End(u64),
}

/// What stands at the beginning of a back-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of this form: 1.
    pub backup: u32,
    /// Version of the store's schema.
    pub schema: i64,
    /// When it was made, RFC 3339 in UTC.
    pub at: Option<String>,
    /// The authority with its key, in PEM.
    pub authority: String,
}

/// Why a back-up was not put back; then nothing was changed.
#[derive(Debug, ThisError)]
pub enum RestoreError {
    /// The file is none, or it broke off.
    #[error("line {line} of the back-up: {reason}")]
    Line {
        /// Its number.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// There is something in the store.
    #[error(
        "the store at {0} is not empty; put the back-up into a new one, and keep the old one as it is"
    )]
    NotEmpty(String),
    /// The authority's file.
    #[error("{path} cannot be written")]
    Authority {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The same.
    #[error("the store failed")]
    Store(#[from] sqlx::Error),
    /// The same.
    #[error("the store failed")]
    Facts(#[from] Error),
}

/// Sends a back-up of this moment line by line, with the authority in PEM in it. A receiver that goes away ends it.
pub async fn write(store: &Store, authority: String, to: mpsc::Sender<Line>) -> Result<(), Error> {
    let mut snapshot = store.snapshot().await?;
    let head = Head { backup: 1, schema: Store::schema(), at: rfc3339(now()), authority };
    let mut open = to.send(Line::Head(head)).await.is_ok();
    let mut count = 0;
    for table in tables() {
        if open {
            (open, count) = dump(&mut snapshot, &table, &to, count).await?;
        }
    }
    let _gone = to.send(Line::End(count)).await;
    Ok(())
}

/// Sends the rows of a table; says whether there is still somebody to read them, and how many there were so far.
async fn dump(
    conn: &mut Conn,
    table: &str,
    to: &mpsc::Sender<Line>,
    mut count: u64,
) -> Result<(bool, u64), Error> {
    // an object may refer to another of its kind, which was made before it
    let kind = KINDS.iter().any(|kind| kind.table().name == table);
    let order = if kind { " ORDER BY length(id), id" } else { "" };
    let statement = format!("SELECT * FROM {table}{order}");
    let mut rows = sqlx::query(AssertSqlSafe(statement)).fetch(conn);
    while let Some(row) = rows.try_next().await? {
        if to.send(Line::Row(table.to_owned(), fields(&row)?)).await.is_err() {
            return Ok((false, count));
        }
        count += 1;
    }
    Ok((true, count))
}

fn fields(row: &Row) -> Result<Map<String, Value>, Error> {
    let mut fields = Map::new();
    for column in row.columns() {
        let place = column.ordinal();
        let raw = row.try_get_raw(place)?;
        if raw.is_null() {
            continue;
        }
        let value = match raw.type_info().kind() {
            AnyTypeInfoKind::Text => Value::from(row.try_get::<String, _>(place)?),
            AnyTypeInfoKind::SmallInt | AnyTypeInfoKind::Integer | AnyTypeInfoKind::BigInt => {
                Value::from(row.try_get::<i64, _>(place)?)
            }
            _ => {
                let reason =
                    format!("column {} has type {}", column.name(), raw.type_info().name());
                return Err(Error::Corrupt { what: "table", reason });
            }
        };
        fields.insert(column.name().to_owned(), value);
    }
    Ok(fields)
}

/// Puts the rows behind `head` into the store at `location`, which must be new or empty. `authority` is called before
/// they are in force and puts the authority in its place.
pub async fn restore(
    location: &Location,
    head: &Head,
    lines: impl Iterator<Item = Result<Line, RestoreError>>,
    authority: impl FnOnce() -> Result<(), RestoreError>,
) -> Result<u64, RestoreError> {
    if head.backup != 1 || head.schema > Store::schema() {
        let reason = "it was made by a later build".to_owned();
        return Err(RestoreError::Line { line: 1, reason });
    }
    let store = Store::open_at(location, head.schema).await?;
    let mut transaction = store.begin().await?;
    let (used,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM sequences").fetch_one(&mut *transaction).await?;
    if used > 0 {
        return Err(RestoreError::NotEmpty(location.to_string()));
    }
    sqlx::query("DELETE FROM facts").execute(&mut *transaction).await?;
    if location.path().is_some() {
        // what refers to a row may come before it, as long as all are there in the end
        sqlx::query("PRAGMA defer_foreign_keys = ON").execute(&mut *transaction).await?;
    }
    let rows = insert_all(&mut transaction, lines).await?;
    begin_another_life(&mut transaction, head).await?;
    authority()?;
    transaction.commit().await?;
    store.close().await;
    // what later builds changed of the schema
    Store::open(location).await?.close().await;
    Ok(rows)
}

async fn insert_all(
    conn: &mut Conn,
    lines: impl Iterator<Item = Result<Line, RestoreError>>,
) -> Result<u64, RestoreError> {
    let mut rows = 0;
    for line in lines {
        let wrong = |reason: String| RestoreError::Line { line: rows + 2, reason };
        match line? {
            Line::Row(table, fields) => insert(conn, &table, &fields).await.map_err(wrong)?,
            Line::End(count) if count == rows => return Ok(rows),
            Line::End(count) => {
                return Err(wrong(format!("{count} rows were written, and {rows} are here")));
            }
            Line::Head(_) => return Err(wrong("another back-up begins".to_owned())),
        }
        rows += 1;
    }
    Err(RestoreError::Line { line: rows + 2, reason: "it broke off here".to_owned() })
}

async fn insert(conn: &mut Conn, table: &str, fields: &Map<String, Value>) -> Result<(), String> {
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if let Some(name) = fields.keys().map(String::as_str).chain([table]).find(|name| !plain(name)) {
        return Err(format!("{} is no name of ours", name.chars().take(64).collect::<String>()));
    }
    let columns: Vec<_> = fields.keys().map(String::as_str).collect();
    let places: Vec<_> = (1..=fields.len()).map(|number| format!("${number}")).collect();
    let statement =
        format!("INSERT INTO {table} ({}) VALUES ({})", columns.join(", "), places.join(", "));
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for (name, value) in fields {
        query = match (value.as_i64(), value.as_str()) {
            (Some(number), _) => query.bind(number),
            (None, Some(text)) => query.bind(text.to_owned()),
            (None, None) => return Err(format!("{name} is neither text nor a whole number")),
        };
    }
    query.execute(conn).await.map(drop).map_err(|error| format!("{table}: {error}"))
}

/// Another epoch, nothing is pushed, and ids begin where none was given out yet.
async fn begin_another_life(conn: &mut Conn, head: &Head) -> Result<(), RestoreError> {
    facts::new_epoch(conn).await?;
    let made = head.at.as_deref().unwrap_or("an unknown time");
    let hold = format!(
        "the store was put back from the back-up of {made}: compare `sluice status`, then \
         `sluice resume`"
    );
    facts::set(conn, Fact::Hold, &hold).await?;
    let rows = sqlx::query("SELECT name, last FROM sequences").fetch_all(&mut *conn).await?;
    for row in rows {
        let (name, last): (String, i64) = (row.try_get("name")?, row.try_get("last")?);
        sqlx::query("UPDATE sequences SET last = $2 WHERE name = $1")
            .bind(name)
            .bind(beyond(last))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// A round number that is far beyond `last`: by as many again as there were, and at least by [`GAP`].
fn beyond(last: i64) -> i64 {
    last.saturating_add(last.max(GAP)).saturating_add(GAP - 1) / GAP * GAP
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Tables that a back-up does without, each for a reason: old news, and what the migrations write themselves.
    const LEFT_OUT: &[&str] = &["observations", "reports", "console_loads", "_sqlx_migrations"];

    #[tokio::test]
    async fn a_back_up_has_every_table() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("m.db").into()).await.unwrap();
        let mut conn = store.read().await.unwrap();
        let rows = sqlx::query(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
        )
        .fetch_all(&mut *conn)
        .await
        .unwrap();
        let there: BTreeSet<String> = rows.iter().map(|row| row.get("name")).collect();
        let left_out = LEFT_OUT.iter().map(ToString::to_string);
        let told: BTreeSet<String> = tables().into_iter().chain(left_out).collect();
        assert_eq!(told, there);
    }

    #[test]
    fn ids_go_on_far_beyond_those_of_the_back_up() {
        for last in [1, 7, 9_999, 10_000, 10_001, 123_456] {
            assert!(beyond(last) >= last + last.max(GAP), "{last}: {}", beyond(last));
        }
        assert_eq!((beyond(7), beyond(123_456)), (20_000, 250_000));
    }
}
