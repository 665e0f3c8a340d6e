//! What a store knows of itself: texts by name.

use sqlx::Row as _;

use super::Conn;
use crate::error::Error;

/// A fact of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Which life of the store this is: a restored one has another.
    Epoch,
    /// SHA-256 of the authority's certificate.
    Authority,
    /// The columns that follow from objects and are filled in.
    Derived,
    /// Why nothing is pushed until somebody says so.
    Hold,
}

impl Fact {
    fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Authority => "authority",
            Self::Derived => "derived",
            Self::Hold => "hold",
        }
    }
}

/// Which life of the store this is; a new store begins its first.
pub async fn epoch(conn: &mut Conn) -> Result<String, Error> {
    if let Some(epoch) = get(conn, Fact::Epoch).await? {
        return Ok(epoch);
    }
    new_epoch(conn).await
}

/// Begins another life.
pub async fn new_epoch(conn: &mut Conn) -> Result<String, Error> {
    let epoch = uuid::Uuid::new_v4().simple().to_string();
    set(conn, Fact::Epoch, &epoch).await?;
    Ok(epoch)
}

/// A fact, if it is known.
pub async fn get(conn: &mut Conn, fact: Fact) -> Result<Option<String>, Error> {
    let row = sqlx::query("SELECT value FROM facts WHERE name = $1")
        .bind(fact.name())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| row.try_get("value")).transpose()?)
}

/// Makes `value` the fact.
pub async fn set(conn: &mut Conn, fact: Fact, value: &str) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO facts (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(fact.name())
    .bind(value)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets a fact.
pub async fn clear(conn: &mut Conn, fact: Fact) -> Result<(), Error> {
    sqlx::query("DELETE FROM facts WHERE name = $1").bind(fact.name()).execute(conn).await?;
    Ok(())
}
