//! Consoles as their proxies report them: how busy each proxy is, and who was on which console.
//!
//! Guarantees: a session is one row, whoever reports it and how often; a session that a proxy knows no more, because it was
//! started anew, is over. The rows outlive what they tell of, for [`KEPT`] seconds.

use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use utoipa::{IntoParams, ToSchema};

use super::row::number;
use super::{Conn, Row};
use crate::error::Error;

/// How long a session that is over is remembered, in seconds: 90 days.
const KEPT: i64 = 90 * 24 * 3600;
/// Most sessions of one answer.
const MOST: i64 = 10_000;

/// What the console service of a proxy says of itself, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub struct Report {
    /// Sessions that run.
    #[serde(default)]
    pub sessions: Vec<Reported>,
    /// Further sessions, which are not listed.
    #[serde(default)]
    pub more: u64,
    /// Sessions that ended last.
    #[serde(default)]
    pub closed: Vec<Reported>,
    /// How much of it is in use.
    pub load: ReportedLoad,
}

/// A session as its proxy tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Reported {
    id: u64,
    grant: String,
    vm: String,
    user: Option<String>,
    from: String,
    since: u64,
    #[serde(default)]
    view_only: bool,
    to_browser: u64,
    from_browser: u64,
    #[serde(default)]
    until: Option<u64>,
    #[serde(default)]
    reason: Option<String>,
}

/// A proxy's load as it tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub struct ReportedLoad {
    /// Sessions that run.
    pub sessions: u64,
    /// Sessions that may run.
    pub most: u64,
    /// Bytes of screen since it started.
    #[serde(default)]
    pub screen_bytes: u64,
}

impl Report {
    /// What of it is worth a row at once: who came, who left, who may type. Bytes go up all the time.
    pub fn news(&self) -> Vec<(u64, u64, bool, bool)> {
        let open = self.sessions.iter().map(|it| (it.id, it.since, it.view_only, true));
        let closed = self.closed.iter().map(|it| (it.id, it.since, it.view_only, false));
        open.chain(closed).collect()
    }
}

/// How busy a proxy was when it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsoleLoad {
    /// Id of the proxy.
    pub appliance: String,
    /// Sessions that ran.
    pub sessions: u64,
    /// Sessions that may run.
    pub most: u64,
    /// Bytes of screen per second since it was asked before.
    pub bytes_per_second: u64,
    /// When it told that, RFC 3339 in UTC; since then it told nothing else, or did not answer.
    pub seen: Option<String>,
    /// Whether it answered when it was asked last.
    #[serde(default)]
    pub answers: bool,
}

/// Loads, and whether their proxies answer.
macro_rules! select_loads {
    ($which:literal) => {
        concat!(
            "SELECT l.*, o.reachable FROM console_loads l ",
            "LEFT JOIN observations o ON o.appliance = l.appliance ",
            $which
        )
    };
}

/// The last load of a proxy; none: it never told one.
pub async fn load(conn: &mut Conn, appliance: &str) -> Result<Option<ConsoleLoad>, Error> {
    let row = sqlx::query(select_loads!("WHERE l.appliance = $1"))
        .bind(appliance)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read_load).transpose()
}

/// The last load of every proxy.
pub async fn loads(conn: &mut Conn) -> Result<Vec<ConsoleLoad>, Error> {
    let all = select_loads!("ORDER BY length(l.appliance), l.appliance");
    sqlx::query(all).fetch_all(conn).await?.iter().map(read_load).collect()
}

fn read_load(row: &Row) -> Result<ConsoleLoad, Error> {
    Ok(ConsoleLoad {
        appliance: row.try_get("appliance")?,
        sessions: number(row, "sessions")?,
        most: number(row, "most")?,
        bytes_per_second: number(row, "bytes_per_second")?,
        seen: super::observations::rfc3339(row.try_get::<i64, _>("seen")? / 1000),
        answers: row.try_get::<Option<i64>, _>("reachable")?.unwrap_or(0) != 0,
    })
}

/// Keeps what `appliance` reported at `seen` (Unix milliseconds).
pub async fn note(
    conn: &mut Conn,
    appliance: &str,
    report: &Report,
    seen: i64,
) -> Result<(), Error> {
    note_load(conn, appliance, report.load, seen).await?;
    for session in report.sessions.iter().chain(&report.closed) {
        note_session(conn, appliance, session).await?;
    }
    if report.more == 0 {
        forget_unknown(conn, appliance, report, seen / 1000).await?;
    }
    Ok(())
}

async fn note_load(
    conn: &mut Conn,
    appliance: &str,
    load: ReportedLoad,
    seen: i64,
) -> Result<(), Error> {
    let before = sqlx::query("SELECT screen_bytes, seen FROM console_loads WHERE appliance = $1")
        .bind(appliance)
        .fetch_optional(&mut *conn)
        .await?;
    let bytes = signed(load.screen_bytes);
    let rate = match before {
        Some(row) => {
            let (before, at): (i64, i64) = (row.try_get("screen_bytes")?, row.try_get("seen")?);
            // a proxy that was started anew counts from nothing
            let grown = bytes.saturating_sub(before).max(0);
            grown.saturating_mul(1000) / seen.saturating_sub(at).max(1)
        }
        None => 0,
    };
    sqlx::query(
        "INSERT INTO console_loads (appliance, sessions, most, screen_bytes, bytes_per_second, seen)
         SELECT $1, $2, $3, $4, $5, $6 WHERE EXISTS (SELECT 1 FROM appliances WHERE id = $1)
         ON CONFLICT (appliance) DO UPDATE SET sessions = excluded.sessions, most = excluded.most,
             screen_bytes = excluded.screen_bytes, bytes_per_second = excluded.bytes_per_second,
             seen = excluded.seen",
    )
    .bind(appliance)
    .bind(signed(load.sessions))
    .bind(signed(load.most))
    .bind(bytes)
    .bind(rate)
    .bind(seen)
    .execute(conn)
    .await?;
    Ok(())
}

async fn note_session(conn: &mut Conn, appliance: &str, session: &Reported) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO console_sessions (appliance, number, since, granted_by, vm, person, address,
             view_only, to_browser, from_browser, ended, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (appliance, number, since) DO UPDATE SET view_only = excluded.view_only,
             to_browser = excluded.to_browser, from_browser = excluded.from_browser,
             ended = excluded.ended, reason = excluded.reason
         WHERE console_sessions.ended IS NULL",
    )
    .bind(appliance)
    .bind(signed(session.id))
    .bind(signed(session.since))
    .bind(session.grant.as_str())
    .bind(session.vm.as_str())
    .bind(session.user.as_deref())
    .bind(session.from.as_str())
    .bind(i64::from(session.view_only))
    .bind(signed(session.to_browser))
    .bind(signed(session.from_browser))
    .bind(session.until.map(signed))
    .bind(session.reason.as_deref())
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the sessions of a proxy that it does not know any more: it was started anew, or ended too many at once.
async fn forget_unknown(
    conn: &mut Conn,
    appliance: &str,
    report: &Report,
    now: i64,
) -> Result<(), Error> {
    let open = sqlx::query(
        "SELECT number, since FROM console_sessions WHERE appliance = $1 AND ended IS NULL",
    )
    .bind(appliance)
    .fetch_all(&mut *conn)
    .await?;
    for row in open {
        let (id, since): (u64, u64) = (number(&row, "number")?, number(&row, "since")?);
        if report.sessions.iter().any(|it| it.id == id && it.since == since) {
            continue;
        }
        sqlx::query(
            "UPDATE console_sessions SET ended = $4, reason = 'lost'
             WHERE appliance = $1 AND number = $2 AND since = $3",
        )
        .bind(appliance)
        .bind(signed(id))
        .bind(signed(since))
        .bind(now)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A session on a console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConsoleSession {
    /// Id of the proxy.
    pub appliance: String,
    /// Its number there, since the proxy's service started.
    pub number: u64,
    /// Id of its grant.
    pub grant: String,
    /// Name of the screen.
    pub vm: String,
    /// For whom the grant was made.
    pub user: Option<String>,
    /// The browser's address.
    pub from: String,
    /// May nothing be typed?
    pub view_only: bool,
    /// When it began, RFC 3339 in UTC.
    pub since: Option<String>,
    /// When it ended, RFC 3339 in UTC; none: it runs.
    pub until: Option<String>,
    /// Why it ended; `lost`: the proxy was started anew.
    pub reason: Option<String>,
    /// Bytes of screen; of one that runs up to a minute ago.
    pub to_browser: u64,
    /// Bytes of input; likewise.
    pub from_browser: u64,
}

/// Which sessions.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only those with this screen, by name or id.
    pub screen: Option<String>,
    /// Only those of grants for this user.
    pub user: Option<String>,
    /// Only those that run. Default false: those that ended within 90 days as well.
    #[serde(default)]
    pub open: bool,
}

/// Sessions, the latest first, 10 000 at most. `which.screen` is a name here.
pub async fn sessions(conn: &mut Conn, which: &Which) -> Result<Vec<ConsoleSession>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM console_sessions
         WHERE ($1 IS NULL OR vm = $1) AND ($2 IS NULL OR person = $2) AND ($3 = 0 OR ended IS NULL)
         ORDER BY since DESC, appliance, number DESC LIMIT $4",
    )
    .bind(which.screen.as_deref())
    .bind(which.user.as_deref())
    .bind(i64::from(which.open))
    .bind(MOST)
    .fetch_all(conn)
    .await?;
    rows.iter().map(session).collect()
}

fn session(row: &Row) -> Result<ConsoleSession, Error> {
    let moment = |seconds: Option<i64>| seconds.and_then(super::observations::rfc3339);
    Ok(ConsoleSession {
        appliance: row.try_get("appliance")?,
        number: number(row, "number")?,
        grant: row.try_get("granted_by")?,
        vm: row.try_get("vm")?,
        user: row.try_get("person")?,
        from: row.try_get("address")?,
        view_only: row.try_get::<i64, _>("view_only")? != 0,
        since: moment(Some(row.try_get("since")?)),
        until: moment(row.try_get("ended")?),
        reason: row.try_get("reason")?,
        to_browser: number(row, "to_browser")?,
        from_browser: number(row, "from_browser")?,
    })
}

/// Whether a session of this grant was ever seen.
pub async fn used(conn: &mut Conn, grant: &str) -> Result<bool, Error> {
    let one = "SELECT number FROM console_sessions WHERE granted_by = $1 LIMIT 1";
    Ok(sqlx::query(one).bind(grant).fetch_optional(conn).await?.is_some())
}

/// Drops sessions that nobody will ask for again.
pub async fn purge(conn: &mut Conn, now: i64) -> Result<(), Error> {
    sqlx::query("DELETE FROM console_sessions WHERE ended < $1")
        .bind(now.saturating_sub(KEPT))
        .execute(conn)
        .await?;
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
