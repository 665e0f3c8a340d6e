//! Answers by request id, written in the transaction of the change: a call that is repeated gets the first one's answer.

use sqlx::Row as _;

use super::row::number;
use super::{Conn, Owner};
use crate::error::Error;

/// How long answers are kept, in seconds: longer than any caller keeps trying.
const KEPT: i64 = 7 * 24 * 3600;

/// The answer that a request id got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Digest of what was asked.
    pub digest: String,
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub answer: String,
}

/// The answer stored for `id` of a caller of `owner`.
pub async fn find(conn: &mut Conn, owner: &Owner, id: &str) -> Result<Option<StoredAnswer>, Error> {
    let row = sqlx::query("SELECT digest, status, answer FROM requests WHERE id = $1")
        .bind(owner.owned(id))
        .fetch_optional(conn)
        .await?;
    row.map(|row| {
        let status: u64 = number(&row, "status")?;
        Ok(StoredAnswer {
            digest: row.try_get("digest")?,
            status: u16::try_from(status).unwrap_or(500),
            answer: row.try_get("answer")?,
        })
    })
    .transpose()
}

/// Stores the answer for `id` of a caller of `owner`.
pub async fn store(
    conn: &mut Conn,
    owner: &Owner,
    id: &str,
    answer: &StoredAnswer,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO requests (id, digest, status, answer, at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(owner.owned(id))
    .bind(&answer.digest)
    .bind(i64::from(answer.status))
    .bind(&answer.answer)
    .bind(super::observations::now())
    .execute(conn)
    .await?;
    Ok(())
}

/// Drops answers that nobody will ask for again.
pub async fn purge(conn: &mut Conn) -> Result<(), Error> {
    sqlx::query("DELETE FROM requests WHERE at < $1")
        .bind(super::observations::now() - KEPT)
        .execute(conn)
        .await?;
    Ok(())
}
