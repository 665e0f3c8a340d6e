//! What is taken from the pools. The primary key judges: an insert that succeeds is the allocation.

use sqlx::Row as _;

use super::row::{optional, optional_number, parsed, word};
use super::{Conn, Row};
use crate::alloc::{Interval, Pool, PoolName, seed};
use crate::error::Error;
use crate::model::{Allocation, AllocationState};

/// For whom something is taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// Id of the object that owns it.
    pub owner: &'a str,
    /// What for.
    pub purpose: &'a str,
    /// The appliance whose configuration uses it; it must confirm the release.
    pub appliance: Option<&'a str>,
    /// The request that asked.
    pub request: Option<&'a str>,
}

/// Takes `value`; false when somebody has it, releasing included. What the same appliance gave back in the same change
/// may be taken again: it goes from the one to the other in one configuration.
pub async fn take(
    conn: &mut Conn,
    pool: &PoolName,
    value: i64,
    taken: Taken<'_>,
) -> Result<bool, Error> {
    let statement =
        "INSERT INTO allocations (pool, value, owner, purpose, state, appliance, request, since)
         VALUES ($1, $2, $3, $4, 'allocated', $5, $6, $7)
         ON CONFLICT (pool, value) DO UPDATE SET owner = excluded.owner,
             purpose = excluded.purpose, state = excluded.state, request = excluded.request,
             since = excluded.since
         WHERE allocations.state = 'releasing' AND allocations.release_generation IS NULL
             AND allocations.appliance = excluded.appliance";
    insert(conn, statement, pool, value, taken).await
}

/// Takes `value` if nobody has it, releasing included.
async fn take_free(
    conn: &mut Conn,
    pool: &PoolName,
    value: i64,
    taken: Taken<'_>,
) -> Result<bool, Error> {
    let statement =
        "INSERT INTO allocations (pool, value, owner, purpose, state, appliance, request, since)
         VALUES ($1, $2, $3, $4, 'allocated', $5, $6, $7) ON CONFLICT (pool, value) DO NOTHING";
    insert(conn, statement, pool, value, taken).await
}

async fn insert(
    conn: &mut Conn,
    statement: &'static str,
    pool: &PoolName,
    value: i64,
    taken: Taken<'_>,
) -> Result<bool, Error> {
    let done = sqlx::query(statement)
        .bind(pool.to_string())
        .bind(value)
        .bind(taken.owner)
        .bind(taken.purpose)
        .bind(taken.appliance)
        .bind(taken.request)
        .bind(super::observations::now())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes a free item of `items`; `None` when there is none.
pub async fn take_any(
    conn: &mut Conn,
    pool: &PoolName,
    items: &Pool,
    taken: Taken<'_>,
) -> Result<Option<i64>, Error> {
    for part in items.search(seed(&pool.to_string(), taken.owner)) {
        // in most pools the start is free, and one statement is all that it takes
        let mut free = Some(part.first());
        // writers have their turns, so the first find is as free as it looks; only an empty pool is told as one
        while let Some(value) = free {
            if take_free(conn, pool, value, taken).await? {
                return Ok(Some(value));
            }
            free = gap(conn, pool, part).await?;
        }
    }
    Ok(None)
}

/// The lowest free item of `part`, whose start is taken: the first taken item whose successor is free. These are index
/// look-ups, so the cost follows the run of taken items, never the size of the pool.
async fn gap(conn: &mut Conn, pool: &PoolName, part: Interval) -> Result<Option<i64>, Error> {
    let found = sqlx::query(
        "SELECT a.value + 1 FROM allocations a
         WHERE a.pool = $1 AND a.value >= $2 AND a.value < $3 AND NOT EXISTS
             (SELECT 1 FROM allocations b WHERE b.pool = $1 AND b.value = a.value + 1)
         ORDER BY a.value LIMIT 1",
    )
    .bind(pool.to_string())
    .bind(part.first())
    .bind(part.last())
    .fetch_optional(conn)
    .await?;
    Ok(found.map(|row| row.try_get(0)).transpose()?)
}

/// Begins the release of all that `owner` has; it stays taken until the appliance confirms a configuration without it.
/// What no appliance ever used is free at once.
pub async fn release(conn: &mut Conn, owner: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM allocations WHERE owner = $1 AND appliance IS NULL")
        .bind(owner)
        .execute(&mut *conn)
        .await?;
    sqlx::query("UPDATE allocations SET state = 'releasing', since = $2 WHERE owner = $1")
        .bind(owner)
        .bind(super::observations::now())
        .execute(conn)
        .await?;
    Ok(())
}

/// Begins the release of one item that `owner` has.
pub async fn release_item(
    conn: &mut Conn,
    pool: &PoolName,
    value: i64,
    owner: &str,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE allocations SET state = 'releasing', since = $4
         WHERE pool = $1 AND value = $2 AND owner = $3",
    )
    .bind(pool.to_string())
    .bind(value)
    .bind(owner)
    .bind(super::observations::now())
    .execute(conn)
    .await?;
    Ok(())
}

/// What `owner` has is `heir`'s from now on.
pub async fn pass_on(conn: &mut Conn, owner: &str, heir: &str) -> Result<(), Error> {
    sqlx::query("UPDATE allocations SET owner = $2 WHERE owner = $1 AND state = 'allocated'")
        .bind(owner)
        .bind(heir)
        .execute(conn)
        .await?;
    Ok(())
}

/// From now on `appliance` uses what `owner` has, and has to confirm its release.
pub async fn used_by(conn: &mut Conn, owner: &str, appliance: &str) -> Result<(), Error> {
    sqlx::query("UPDATE allocations SET appliance = $2 WHERE owner = $1 AND state = 'allocated'")
        .bind(owner)
        .bind(appliance)
        .execute(conn)
        .await?;
    Ok(())
}

/// Keeps `value` from everybody else while `appliance` has it by a configuration that the model does not make: until it
/// confirms one that the model makes. What somebody has stays theirs.
pub async fn hold(
    conn: &mut Conn,
    pool: &PoolName,
    value: i64,
    appliance: &str,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO allocations (pool, value, owner, purpose, state, appliance, since)
         VALUES ($1, $2, $3, 'adopted', 'releasing', $3, $4)
         ON CONFLICT (pool, value) DO UPDATE SET release_generation = NULL
         WHERE allocations.state = 'releasing' AND allocations.appliance = excluded.appliance",
    )
    .bind(pool.to_string())
    .bind(value)
    .bind(appliance)
    .bind(super::observations::now())
    .execute(conn)
    .await?;
    Ok(())
}

/// Who has an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Id of the object that it was taken for.
    pub owner: String,
    /// It is on its way back from this appliance.
    pub leaving: Option<String>,
}

/// Who has `value`, if somebody has.
pub async fn holder(conn: &mut Conn, pool: &PoolName, value: i64) -> Result<Option<Holder>, Error> {
    let row = sqlx::query(
        "SELECT owner, CASE WHEN state = 'releasing' THEN appliance END AS leaving
         FROM allocations WHERE pool = $1 AND value = $2",
    )
    .bind(pool.to_string())
    .bind(value)
    .fetch_optional(conn)
    .await?;
    let holder =
        |row: Row| Ok(Holder { owner: row.try_get("owner")?, leaving: row.try_get("leaving")? });
    row.map(holder).transpose()
}

/// Notes which generation of `appliance` is the first without what it is releasing.
pub async fn stamp(conn: &mut Conn, appliance: &str, generation: i64) -> Result<(), Error> {
    sqlx::query(
        "UPDATE allocations SET release_generation = $2
         WHERE appliance = $1 AND state = 'releasing' AND release_generation IS NULL",
    )
    .bind(appliance)
    .bind(generation)
    .execute(conn)
    .await?;
    Ok(())
}

/// Frees what `appliance` no longer uses, now that it committed `generation`; returns how many items.
pub async fn free(conn: &mut Conn, appliance: &str, generation: i64) -> Result<u64, Error> {
    let done = sqlx::query(
        "DELETE FROM allocations
         WHERE appliance = $1 AND state = 'releasing' AND release_generation <= $2",
    )
    .bind(appliance)
    .bind(generation)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Frees all of an appliance that is gone.
pub async fn free_all(conn: &mut Conn, appliance: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM allocations WHERE appliance = $1")
        .bind(appliance)
        .execute(conn)
        .await?;
    Ok(())
}

/// True when `appliance` has something to free at `generation`.
pub async fn freeable(conn: &mut Conn, appliance: &str, generation: i64) -> Result<bool, Error> {
    let found = sqlx::query(
        "SELECT 1 FROM allocations
         WHERE appliance = $1 AND state = 'releasing' AND release_generation <= $2 LIMIT 1",
    )
    .bind(appliance)
    .bind(generation)
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// The taken items of `pool` from `first` to `last`, in order.
pub async fn between(
    conn: &mut Conn,
    pool: &PoolName,
    first: i64,
    last: i64,
) -> Result<Vec<Allocation>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM allocations WHERE pool = $1 AND value >= $2 AND value <= $3 ORDER BY value",
    )
    .bind(pool.to_string())
    .bind(first)
    .bind(last)
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// The taken items of `pool`, in order.
pub async fn values(conn: &mut Conn, pool: &PoolName) -> Result<Vec<i64>, Error> {
    let rows = sqlx::query("SELECT value FROM allocations WHERE pool = $1 ORDER BY value")
        .bind(pool.to_string())
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Everything taken, by pool and item; `pool` narrows it to one.
pub async fn list(conn: &mut Conn, pool: Option<&PoolName>) -> Result<Vec<Allocation>, Error> {
    let query = match pool {
        Some(pool) => sqlx::query("SELECT * FROM allocations WHERE pool = $1 ORDER BY value")
            .bind(pool.to_string()),
        None => sqlx::query("SELECT * FROM allocations ORDER BY pool, value"),
    };
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Allocation, Error> {
    let pool: PoolName = parsed(row, "pool")?;
    Ok(Allocation {
        value: pool.written(row.try_get("value")?),
        pool: pool.to_string(),
        owner: row.try_get("owner")?,
        purpose: row.try_get("purpose")?,
        state: word::<AllocationState>(row, "state")?,
        appliance: optional(row, "appliance")?,
        release_generation: optional_number(row, "release_generation")?,
    })
}
