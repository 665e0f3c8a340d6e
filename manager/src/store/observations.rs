//! What was last seen of each appliance.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sluice_api::report::{Phase, PlanSummary, Timing};
use sluice_api::types::Generation;
use sqlx::{AssertSqlSafe, Row as _};
use utoipa::ToSchema;

use super::row::{from_json, number, optional_number, to_json, to_word};
use super::{Conn, Row};
use crate::error::Error;
use crate::model::ApplianceStatus;

/// What the last exchange with an appliance came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LastAnswer {
    /// There cannot be a machine yet: it never got a boot document.
    NotBooted,
    /// It does not answer.
    Unreachable,
    /// The manager itself failed; its log says why.
    Internal,
    /// In force and verified.
    Applied,
    /// It had that configuration already.
    Already,
    /// It is at work, or waits for a confirmation.
    Busy,
    /// It had a newer one of ours.
    Stale,
    /// It had another content under that number.
    Changed,
    /// It asked for blobs, which were sent.
    MissingBlobs,
    /// It refused the configuration.
    Rejected,
    /// It could not bring it into force.
    Failed,
    /// The configuration cut the manager off and was undone; it is not sent again by itself.
    Reverted,
    /// It has a configuration that this store never gave: somebody has to decide.
    Diverged,
    /// The store was put back, and nothing is sent until somebody says so.
    Held,
    /// A machine with an older boot document answers than one that was seen before: it is told nothing.
    Fenced,
    /// A word of a newer appliance.
    Unknown,
}

/// What is known of an appliance from the outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Did it answer the last time it was asked?
    pub reachable: bool,
    /// The generation that it reported as committed.
    pub reported: Option<Generation>,
    /// Where its engine stands.
    pub phase: Option<Phase>,
    /// What the last exchange came to.
    pub last_answer: Option<LastAnswer>,
    /// The reason behind the last answer.
    pub detail: Option<String>,
    /// What the last push changed.
    pub plan: Option<PlanSummary>,
    /// How long the last push took.
    pub timing: Option<Timing>,
    /// End of the certificate that it showed, Unix seconds.
    pub certificate_until: Option<i64>,
    /// The certificate that it showed is of an authority that is being given up.
    pub old_authority: bool,
    /// What was wrong with it at its last report.
    pub alarms: Vec<String>,
}

/// Unix milliseconds.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Unix seconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Who looked, and when.
#[derive(Clone, Copy, Debug)]
pub struct Looked<'a> {
    /// The manager, in a word.
    pub by: &'a str,
    /// The number of the look, by [`Store::look`](super::Store::look).
    pub at: i64,
    /// Fingerprint of the authority that it took for the current one.
    pub authority: &'a str,
}

/// Writes what was seen of an appliance that still exists, unless a later look was written meanwhile.
pub async fn write(
    conn: &mut Conn,
    id: &str,
    seen: &Observation,
    looked: Looked<'_>,
) -> Result<(), Error> {
    let plan = seen.plan.as_ref().map(|plan| to_json(plan, "plan")).transpose()?;
    let timing = seen.timing.as_ref().map(|timing| to_json(timing, "timing")).transpose()?;
    sqlx::query(
        "INSERT INTO observations (appliance, reachable, reported_generation, phase, last_answer,
             detail, plan, timing, since, shown_until, alarms, looked, seen_by, old_authority)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
             CASE WHEN EXISTS (SELECT 1 FROM facts WHERE name = 'authority' AND value = $15)
                 THEN $14 ELSE 1 END
         WHERE EXISTS
             (SELECT 1 FROM appliances WHERE id = $1)
         ON CONFLICT (appliance) DO UPDATE SET reachable = excluded.reachable,
             reported_generation = excluded.reported_generation, phase = excluded.phase,
             last_answer = excluded.last_answer, detail = excluded.detail, plan = excluded.plan,
             timing = excluded.timing, since = excluded.since, shown_until = excluded.shown_until,
             alarms = excluded.alarms, looked = excluded.looked, seen_by = excluded.seen_by,
             old_authority = excluded.old_authority
         WHERE observations.looked <= excluded.looked",
    )
    .bind(id)
    .bind(i64::from(seen.reachable))
    .bind(seen.reported.and_then(|generation| i64::try_from(generation.get()).ok()))
    .bind(seen.phase.map(|phase| to_word(&phase, "phase")).transpose()?)
    .bind(seen.last_answer.map(|word| to_word(&word, "last answer")).transpose()?)
    .bind(seen.detail.clone())
    .bind(plan)
    .bind(timing)
    .bind(now())
    .bind(seen.certificate_until)
    .bind(to_json(&seen.alarms, "alarms")?)
    .bind(looked.at)
    .bind(looked.by)
    // who does not know of the newest authority yet cannot tell that a certificate is one of it
    .bind(i64::from(seen.old_authority))
    .bind(looked.authority)
    .execute(conn)
    .await?;
    Ok(())
}

/// What was last seen of an appliance, if anything was.
pub async fn read(conn: &mut Conn, id: &str) -> Result<Option<Observation>, Error> {
    let row = sqlx::query("SELECT * FROM observations WHERE appliance = $1")
        .bind(id)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(observation).transpose()
}

fn observation(row: &Row) -> Result<Observation, Error> {
    let text = |column| row.try_get::<Option<String>, _>(column);
    let phase = text("phase")?.map(|word| from_word::<Phase>(word, "phase")).transpose()?;
    let answer = text("last_answer")?.map(|word| from_word(word, "last answer")).transpose()?;
    Ok(Observation {
        reachable: row.try_get::<Option<i64>, _>("reachable")?.unwrap_or(0) != 0,
        reported: optional_number(row, "reported_generation")?,
        phase,
        last_answer: answer,
        detail: text("detail")?,
        plan: text("plan")?.map(|json| from_json(&json, "plan")).transpose()?,
        timing: text("timing")?.map(|json| from_json(&json, "timing")).transpose()?,
        certificate_until: row.try_get("shown_until")?,
        old_authority: row.try_get::<Option<i64>, _>("old_authority")?.unwrap_or(0) != 0,
        alarms: text("alarms")?
            .map(|json| from_json(&json, "alarms"))
            .transpose()?
            .unwrap_or_default(),
    })
}

/// The enum that serde spells like this.
fn from_word<T: DeserializeOwned>(word: String, what: &'static str) -> Result<T, Error> {
    serde_json::from_value(word.into())
        .map_err(|error| Error::Corrupt { what, reason: error.to_string() })
}

/// Wanted against reported, by appliance; `id` narrows it to one.
pub async fn status(conn: &mut Conn, id: Option<&str>) -> Result<Vec<ApplianceStatus>, Error> {
    let which = if id.is_some() { "WHERE a.id = $1" } else { "" };
    let statement = format!(
        "SELECT a.id, a.role, w.generation AS wanted, w.certificate_until, o.*
         FROM appliances a JOIN wanted w ON w.appliance = a.id
             LEFT JOIN observations o ON o.appliance = a.id
         {which} ORDER BY length(a.id), a.id"
    );
    let query = sqlx::query(AssertSqlSafe(statement));
    let query = id.into_iter().fold(query, |query, id| query.bind(id.to_owned()));
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(read_status).collect()
}

fn read_status(row: &Row) -> Result<ApplianceStatus, Error> {
    let seen = observation(row)?;
    let wanted = number(row, "wanted")?;
    let issued: Option<i64> = row.try_get("certificate_until")?;
    let seen = if issued.is_none() { not_booted() } else { seen };
    let settled = seen.phase == Some(Phase::InForce) && seen.reported == Some(wanted);
    Ok(ApplianceStatus {
        appliance: super::row::parsed(row, "id")?,
        role: super::row::word(row, "role")?,
        wanted,
        reported: seen.reported,
        in_sync: seen.reachable && settled,
        reachable: seen.reachable,
        phase: seen.phase,
        last_answer: seen.last_answer,
        detail: seen.detail,
        plan: seen.plan,
        timing: seen.timing,
        since: row.try_get::<Option<i64>, _>("since")?.and_then(rfc3339),
        certificate_until: seen.certificate_until.or(issued).and_then(rfc3339),
        alarms: seen.alarms,
        seen_by: row.try_get("seen_by")?,
    })
}

/// Appliances whose certificate is of an authority that is being given up, and those that were not seen with a newer one.
pub async fn on_old_authority(conn: &mut Conn) -> Result<Vec<String>, Error> {
    let rows = sqlx::query(
        "SELECT w.appliance FROM wanted w LEFT JOIN observations o ON o.appliance = w.appliance
         WHERE w.certificate_until IS NOT NULL AND COALESCE(o.old_authority, 1) = 1
         ORDER BY length(w.appliance), w.appliance",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("appliance")?)).collect()
}

/// No appliance was seen with a certificate of the newest authority yet.
pub async fn renew_all(conn: &mut Conn) -> Result<(), Error> {
    sqlx::query("UPDATE observations SET old_authority = 1").execute(conn).await?;
    Ok(())
}

/// What is told of an appliance that cannot exist yet.
fn not_booted() -> Observation {
    let detail = "no machine yet: start one with `sluice appliance boot-document`".to_owned();
    let last_answer = Some(LastAnswer::NotBooted);
    Observation { last_answer, detail: Some(detail), ..Observation::default() }
}

/// Unix seconds as people read them.
pub fn rfc3339(seconds: i64) -> Option<String> {
    let moment = time::OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    moment.format(&time::format_description::well_known::Rfc3339).ok()
}
