//! What became of each configuration on its appliance.

use serde::{Deserialize, Serialize};
use sluice_api::report::Phase;
use sluice_api::types::{ApplianceId, Generation};
use sluice_api::{Digest, Finding};
use sqlx::Row as _;
use utoipa::ToSchema;

use super::observations::{now, rfc3339};
use super::packed::{packed, unpacked};
use super::row::{from_json, number, optional_number, parsed, to_json, to_word, word};
use super::wanted::wanted;
use super::{Conn, Row, promises};
use crate::error::Error;

/// What became of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Not sent yet, or on its way.
    Pending,
    /// Applied, and waiting for its confirmation.
    Applied,
    /// Applied, after which the manager could not reach the appliance any more.
    CutOff,
    /// In force, it or a later one.
    InForce,
    /// The appliance refused it.
    Rejected,
    /// The appliance could not bring it into force.
    Failed,
    /// It cut the manager off, and the appliance went back to the one before. It is not sent again by itself.
    Reverted,
}

impl Outcome {
    /// True when waiting any longer changes nothing by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Applied | Self::CutOff)
    }
}

/// A configuration of an appliance, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GenerationStatus {
    /// Which appliance.
    pub appliance: ApplianceId,
    /// Number of the configuration.
    pub generation: Generation,
    /// What became of it.
    pub state: Outcome,
    /// Why, for a person.
    pub detail: Option<String>,
    /// What the appliance found wrong with it.
    pub findings: Vec<Finding>,
    /// When it was wanted first, RFC 3339 in UTC.
    pub wanted_at: Option<String>,
    /// When it became what it is, RFC 3339 in UTC.
    pub settled_at: Option<String>,
    /// Who wanted it.
    pub actor: String,
    /// What change it came from.
    pub reason: String,
}

/// Notes what became of a configuration.
pub async fn note(
    conn: &mut Conn,
    id: &str,
    generation: Generation,
    outcome: Outcome,
    detail: Option<&str>,
    findings: &[Finding],
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE configurations SET outcome = $3, detail = $4, findings = $5, settled = $6
         WHERE appliance = $1 AND generation = $2",
    )
    .bind(id)
    .bind(i64::try_from(generation.get()).unwrap_or(i64::MAX))
    .bind(to_word(&outcome, "outcome")?)
    .bind(detail)
    .bind(to_json(&findings, "findings")?)
    .bind(now())
    .execute(conn)
    .await?;
    Ok(())
}

/// Has the wanted configuration sent again that was undone: it is pending, and since when says that somebody asked.
pub async fn ask_again(conn: &mut Conn, id: &str) -> Result<(), Error> {
    sqlx::query(
        "UPDATE configurations SET outcome = $2, detail = NULL, findings = NULL, settled = $3
         WHERE appliance = $1
             AND generation = (SELECT generation FROM wanted WHERE appliance = $1)",
    )
    .bind(id)
    .bind(to_word(&Outcome::Pending, "outcome")?)
    .bind(now())
    .execute(conn)
    .await?;
    Ok(())
}

/// Configurations of an appliance, the newest first; `generation` narrows it to one, `limit` to so many.
pub async fn list(
    conn: &mut Conn,
    id: &str,
    generation: Option<Generation>,
    limit: i64,
) -> Result<Vec<GenerationStatus>, Error> {
    let rows = sqlx::query(
        "SELECT appliance, generation, at, actor, reason, outcome, detail, findings, settled
         FROM configurations WHERE appliance = $1 AND ($2 IS NULL OR generation = $2)
         ORDER BY generation DESC LIMIT $3",
    )
    .bind(id)
    .bind(generation.map(|number| i64::try_from(number.get()).unwrap_or(i64::MAX)))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<GenerationStatus, Error> {
    let outcome: Option<String> = row.try_get("outcome")?;
    let findings: Option<String> = row.try_get("findings")?;
    let state = if outcome.is_some() { word(row, "outcome")? } else { Outcome::Pending };
    let time = |column| Ok::<_, Error>(row.try_get::<Option<i64>, _>(column)?.and_then(rfc3339));
    Ok(GenerationStatus {
        appliance: parsed(row, "appliance")?,
        generation: number(row, "generation")?,
        state,
        detail: row.try_get("detail")?,
        findings: findings
            .map(|text| from_json(&text, "findings"))
            .transpose()?
            .unwrap_or_default(),
        wanted_at: time("at")?,
        settled_at: time("settled")?,
        actor: row.try_get("actor")?,
        reason: row.try_get("reason")?,
    })
}

/// What became of the change that is in generation `generation`: in force once that or a later one is. While neither is,
/// what became of the one that is wanted now counts, since it has the change in it too.
pub async fn of_change(
    conn: &mut Conn,
    id: &str,
    generation: Generation,
) -> Result<Option<GenerationStatus>, Error> {
    let Some(mut status) = list(conn, id, Some(generation), 1).await?.pop() else {
        return promised(conn, id, generation).await;
    };
    let row = sqlx::query(
        "SELECT w.generation AS wanted, o.reported_generation, o.phase
         FROM wanted w LEFT JOIN observations o ON o.appliance = w.appliance
         WHERE w.appliance = $1",
    )
    .bind(id)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(Some(status)) };
    let reported: Option<Generation> = optional_number(&row, "reported_generation")?;
    let phase: Option<String> = row.try_get("phase")?;
    let settled = phase.as_deref() == Some(to_word(&Phase::InForce, "phase")?.as_str());
    if settled && reported.is_some_and(|reported| reported >= generation) {
        (status.state, status.detail) = (Outcome::InForce, None);
        return Ok(Some(status));
    }
    let wanted: Generation = number(&row, "wanted")?;
    if wanted > generation
        && let Some(newest) = list(conn, id, Some(wanted), 1).await?.pop()
    {
        (status.state, status.findings) = (newest.state, newest.findings);
        status.settled_at = newest.settled_at;
        status.detail = newest.detail.map(|text| format!("generation {wanted}: {text}"));
    }
    Ok(Some(status))
}

/// What became of a change whose configuration was promised, and is yet to be compiled or was the same as before.
async fn promised(
    conn: &mut Conn,
    id: &str,
    generation: Generation,
) -> Result<Option<GenerationStatus>, Error> {
    let promise = promises::of(conn, id).await?;
    if generation.get() <= promise.covered
        && let Some(row) = wanted(conn, id).await?
        && let Ok(wanted) = Generation::try_from(row.generation)
        && wanted != generation
    {
        let status = Box::pin(of_change(conn, id, wanted)).await?;
        return Ok(status.map(|status| GenerationStatus { generation, ..status }));
    }
    let Some((actor, reason)) = promise.dirty.filter(|_| generation.get() <= promise.promised)
    else {
        return Ok(None);
    };
    let appliance = id
        .parse()
        .map_err(|_| Error::Corrupt { what: "appliance", reason: format!("{id} is no id") })?;
    Ok(Some(GenerationStatus {
        appliance,
        generation,
        state: Outcome::Pending,
        detail: Some("its configuration is yet to be compiled".to_owned()),
        findings: Vec::new(),
        wanted_at: None,
        settled_at: None,
        actor,
        reason,
    }))
}

/// What became of one configuration, and when (Unix seconds).
pub async fn of_generation(
    conn: &mut Conn,
    id: &str,
    generation: Generation,
) -> Result<(Outcome, Option<i64>), Error> {
    let row = sqlx::query(
        "SELECT outcome, settled FROM configurations WHERE appliance = $1 AND generation = $2",
    )
    .bind(id)
    .bind(i64::try_from(generation.get()).unwrap_or(i64::MAX))
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok((Outcome::Pending, None)) };
    let noted = row.try_get::<Option<String>, _>("outcome")?.is_some();
    let outcome = if noted { word(&row, "outcome")? } else { Outcome::Pending };
    Ok((outcome, row.try_get("settled")?))
}

/// A document as it was wanted with this number.
pub async fn document(
    conn: &mut Conn,
    id: &str,
    generation: Generation,
) -> Result<Option<String>, Error> {
    let row =
        sqlx::query("SELECT document FROM configurations WHERE appliance = $1 AND generation = $2")
            .bind(id)
            .bind(i64::try_from(generation.get()).unwrap_or(i64::MAX))
            .fetch_optional(conn)
            .await?;
    row.map(|row| unpacked(row.try_get("document")?)).transpose()
}

/// True when this store gave the appliance the configuration `generation` with these bytes, or somebody decided about it.
pub async fn known(
    conn: &mut Conn,
    id: &str,
    generation: Generation,
    digest: &Digest,
) -> Result<bool, Error> {
    if let Some(document) = document(conn, id, generation).await?
        && &Digest::of_bytes(document.as_bytes()) == digest
    {
        return Ok(true);
    }
    let found = sqlx::query(
        "SELECT generation FROM found_configurations
         WHERE appliance = $1 AND generation = $2 AND digest = $3",
    )
    .bind(id)
    .bind(i64::try_from(generation.get()).unwrap_or(i64::MAX))
    .bind(digest.as_str())
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Keeps a configuration that the appliance has from elsewhere.
pub async fn keep_found(
    conn: &mut Conn,
    id: &str,
    generation: Generation,
    digest: &Digest,
    document: &str,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO found_configurations (appliance, generation, digest, document, at)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(i64::try_from(generation.get()).unwrap_or(i64::MAX))
    .bind(digest.as_str())
    .bind(packed(document))
    .bind(now())
    .execute(conn)
    .await?;
    Ok(())
}
