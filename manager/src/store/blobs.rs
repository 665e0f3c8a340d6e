//! Large and secret things by the digest of their bytes.
//!
//! Guarantees: the same bytes are kept once. Secrets lie here as the store's file does: readable by its owner alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sluice_api::types::BlobDigest;
use sqlx::Row as _;

use super::Conn;
use crate::error::Error;

/// Keeps `bytes`; returns their digest.
pub async fn put(conn: &mut Conn, bytes: &[u8]) -> Result<BlobDigest, Error> {
    let digest = BlobDigest::of(bytes);
    sqlx::query(
        "INSERT INTO blobs (digest, bytes, since) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(digest.hex())
    .bind(STANDARD.encode(bytes))
    .bind(super::observations::now())
    .execute(conn)
    .await?;
    Ok(digest)
}

/// The bytes with this digest.
pub async fn get(conn: &mut Conn, digest: &BlobDigest) -> Result<Option<Vec<u8>>, Error> {
    let row = sqlx::query("SELECT bytes FROM blobs WHERE digest = $1")
        .bind(digest.hex())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let text: String = row.try_get("bytes")?;
    let bytes = STANDARD.decode(text);
    bytes.map(Some).map_err(|error| Error::Corrupt { what: "blob", reason: error.to_string() })
}

/// Forgets one that nothing names any more.
pub async fn delete(conn: &mut Conn, digest: &BlobDigest) -> Result<(), Error> {
    sqlx::query("DELETE FROM blobs WHERE digest = $1").bind(digest.hex()).execute(conn).await?;
    Ok(())
}
