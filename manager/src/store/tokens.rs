//! Who may call over TCP: names and digests of tokens.
//!
//! Guarantees: a token itself is shown once, when it is made, and kept nowhere. It is 256 random bits, so its plain digest
//! gives nothing away.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sluice_api::types::ObjectId;
use sqlx::Row as _;
use utoipa::ToSchema;

use super::observations::{now, rfc3339};
use super::row::{to_word, word};
use super::{Conn, Owner, Row, objects};
use crate::access::Role;
use crate::error::Error;

/// What every token begins with, so that one that leaked is recognised.
const MARK: &str = "sluice_";

/// A token, as far as it is known after it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Never used again once deleted.
    pub id: String,
    /// Who has it; stands in the history of changes.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made, RFC 3339 in UTC.
    pub created: Option<String>,
    /// When it ends, RFC 3339 in UTC; none: never.
    pub expires: Option<String>,
    /// Whose objects its holder makes and sees.
    #[serde(skip)]
    pub owner: Owner,
}

/// A fresh token.
pub fn fresh() -> String {
    let bits: [u8; 32] = rand::random();
    format!("{MARK}{}", URL_SAFE_NO_PAD.encode(bits))
}

/// What is kept of a token.
pub fn digest(token: &str) -> String {
    sluice_api::Digest::of_bytes(token.as_bytes()).as_str().to_owned()
}

/// Keeps a token under `name`, which must be free; with it comes its life in seconds. Its holder acts for `owner`.
pub async fn insert(
    conn: &mut Conn,
    owner: &Owner,
    name: &ObjectId,
    role: Role,
    (token, seconds): (&str, Option<i64>),
) -> Result<Token, Error> {
    let id = objects::next_id(conn, "t").await?;
    let done = sqlx::query(
        "INSERT INTO tokens (id, name, role, digest, created, expires, domain, account)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(id.clone())
    .bind(name.as_str().to_owned())
    .bind(to_word(&role, "role")?)
    .bind(digest(token))
    .bind(now())
    .bind(seconds.map(|seconds| now().saturating_add(seconds)))
    .bind(owner.domain.clone())
    .bind(owner.account.clone())
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        let reason = format!("there is a token {name} already");
        return Err(Error::Conflict { field: "name", reason });
    }
    let found = list(conn).await?.into_iter().find(|token| token.id == id);
    found.ok_or_else(|| Error::NotFound { kind: "token", name: id })
}

/// All tokens, the oldest first.
pub async fn list(conn: &mut Conn) -> Result<Vec<Token>, Error> {
    let rows = sqlx::query("SELECT * FROM tokens ORDER BY length(id), id").fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// Whose token it is, unless it has ended.
pub async fn of(conn: &mut Conn, token: &str) -> Result<Option<Token>, Error> {
    let row =
        sqlx::query("SELECT * FROM tokens WHERE digest = $1 AND (expires IS NULL OR expires > $2)")
            .bind(digest(token))
            .bind(now())
            .fetch_optional(conn)
            .await?;
    row.as_ref().map(read).transpose()
}

/// Ends the token with this name or id.
pub async fn delete(conn: &mut Conn, name: &ObjectId) -> Result<Token, Error> {
    let text = name.as_str();
    let found = list(conn).await?.into_iter().find(|token| token.id == text || token.name == text);
    let found = found.ok_or_else(|| Error::NotFound { kind: "token", name: name.to_string() })?;
    sqlx::query("DELETE FROM tokens WHERE id = $1").bind(found.id.clone()).execute(conn).await?;
    Ok(found)
}

fn read(row: &Row) -> Result<Token, Error> {
    Ok(Token {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        role: word(row, "role")?,
        owner: Owner { domain: row.try_get("domain")?, account: row.try_get("account")? },
        created: rfc3339(row.try_get("created")?),
        expires: row.try_get::<Option<i64>, _>("expires")?.and_then(rfc3339),
    })
}
