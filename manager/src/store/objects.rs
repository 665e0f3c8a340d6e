//! Objects of every kind: a row each, the object itself as JSON text, and the columns that the database judges.
//!
//! Guarantees: what is read back is what was written; `version` counts the changes of a row. Not here: what a column
//! means; the kind says so. Nothing is looked for without a [`Scope`].

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row as _};

use super::{Conn, Owner, Row, Scope};
use crate::error::Error;

/// A kind's table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Columns besides `id`, `domain`, `account`, `owned_name`, `name`, `version` and `body`.
    pub columns: Vec<&'static str>,
}

/// The content of such a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Text; none: NULL.
    Text(Option<String>),
    /// A number; none: NULL.
    Number(Option<i64>),
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Never used again once deleted.
    pub id: String,
    /// Whose it is.
    pub owner: Owner,
    /// How people call it.
    pub name: String,
    /// Counts its changes; 1 when it is new.
    pub version: i64,
    /// The object as JSON text.
    pub body: String,
}

type Ask = Query<'static, Any, AnyArguments>;

fn bind(query: Ask, cell: &Cell) -> Ask {
    match cell {
        Cell::Text(text) => query.bind(text.clone()),
        Cell::Number(number) => query.bind(*number),
    }
}

/// Writes a new object; false when a name or another unique column is taken.
pub async fn insert(
    conn: &mut Conn,
    table: &Table,
    line: &Line,
    cells: &[Cell],
) -> Result<bool, Error> {
    let columns: String = table.columns.iter().map(|column| format!(", {column}")).collect();
    let places: String =
        (8..8 + table.columns.len()).map(|number| format!(", ${number}")).collect();
    let statement = format!(
        "INSERT INTO {} (id, domain, account, owned_name, name, version, body{columns})
         VALUES ($1, $2, $3, $4, $5, $6, $7{places}) ON CONFLICT DO NOTHING",
        table.name
    );
    let query = sqlx::query(AssertSqlSafe(statement))
        .bind(line.id.clone())
        .bind(line.owner.domain.clone())
        .bind(line.owner.account.clone())
        .bind(line.owner.owned(&line.name))
        .bind(line.name.clone())
        .bind(line.version)
        .bind(line.body.clone());
    let done = cells.iter().fold(query, bind).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}

/// Writes a changed object, which stays its owner's; false when it is gone.
pub async fn update(
    conn: &mut Conn,
    table: &Table,
    line: &Line,
    cells: &[Cell],
) -> Result<bool, Error> {
    let columns: String = (4_usize..)
        .zip(&table.columns)
        .map(|(number, column)| format!(", {column} = ${number}"))
        .collect();
    let statement = format!(
        "UPDATE {} SET name = $2, owned_name = domain || '/' || account || '/' || $2,
             version = version + 1, body = $3{columns} WHERE id = $1",
        table.name
    );
    let query = sqlx::query(AssertSqlSafe(statement))
        .bind(line.id.clone())
        .bind(line.name.clone())
        .bind(line.body.clone());
    let done = cells.iter().fold(query, bind).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes an object.
pub async fn delete(conn: &mut Conn, table: &Table, id: &str) -> Result<(), Error> {
    let statement = format!("DELETE FROM {} WHERE id = $1", table.name);
    sqlx::query(AssertSqlSafe(statement)).bind(id.to_owned()).execute(conn).await?;
    Ok(())
}

/// Which objects: all that have these contents in these columns.
pub type Where<'a> = &'a [(&'static str, &'a str)];

/// A page of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Only objects behind this id, in the order of ids' making.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: Option<i64>,
}

/// Everything.
pub const ALL: Page<'static> = Page { after: None, limit: None };

/// The columns that say which objects, and their contents. Names of an owner's are looked up as the index has them.
fn conditions(scope: Scope<'_>, filter: Where<'_>) -> Vec<(&'static str, String)> {
    let Scope::Of(owner) = scope else {
        return filter.iter().map(|(column, value)| (*column, (*value).to_owned())).collect();
    };
    let own = [("domain", owner.domain.clone()), ("account", owner.account.clone())];
    let asked = filter.iter().map(|(column, value)| match *column {
        "name" => ("owned_name", owner.owned(value)),
        column => (column, (*value).to_owned()),
    });
    own.into_iter().chain(asked).collect()
}

/// Where a page begins. Ids are `prefix-number`: the longer one is the later one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behind {
    /// With the first object.
    Nothing,
    /// Behind an id, with those that are as long.
    AsLong,
    /// With those that are longer than an id.
    Longer,
}

/// Asks for what has contents in `columns`, in the order in which it was made. An index of each table has that order, and where
/// to begin in it; of `AsLong` and `Longer` in one question `SQLite` would not find where.
pub(crate) fn in_order(table: &Table, columns: &[&str], behind: Behind, limited: bool) -> String {
    let mut statement = format!("SELECT * FROM {} WHERE 1 = 1", table.name);
    for (number, column) in (1..).zip(columns) {
        statement.push_str(&format!(" AND {column} = ${number}"));
    }
    let mut next = columns.len() + 1;
    statement.push_str(&match behind {
        Behind::Nothing => String::new(),
        Behind::AsLong => format!(" AND length(id) = length(${next}) AND id > ${next}"),
        Behind::Longer => format!(" AND length(id) > length(${next})"),
    });
    if !matches!(behind, Behind::Nothing) {
        next += 1;
    }
    // of those that are as long, SQLite would sort by the length again
    let order = if let Behind::AsLong = behind { "id" } else { "length(id), id" };
    statement.push_str(&format!(" ORDER BY {order}"));
    if limited {
        statement.push_str(&format!(" LIMIT ${next}"));
    }
    statement
}

/// Objects in the order in which they were made.
pub async fn list(
    conn: &mut Conn,
    table: &Table,
    scope: Scope<'_>,
    filter: Where<'_>,
    page: Page<'_>,
) -> Result<Vec<Line>, Error> {
    let filter = conditions(scope, filter);
    if page.after.is_none() {
        return part(conn, table, &filter, Behind::Nothing, page).await;
    }
    let mut lines = part(conn, table, &filter, Behind::AsLong, page).await?;
    let found = i64::try_from(lines.len()).unwrap_or(i64::MAX);
    let rest = Page { limit: page.limit.map(|limit| limit.saturating_sub(found)), ..page };
    if rest.limit != Some(0) {
        lines.extend(part(conn, table, &filter, Behind::Longer, rest).await?);
    }
    Ok(lines)
}

async fn part(
    conn: &mut Conn,
    table: &Table,
    filter: &[(&'static str, String)],
    behind: Behind,
    page: Page<'_>,
) -> Result<Vec<Line>, Error> {
    let columns: Vec<_> = filter.iter().map(|(column, _)| *column).collect();
    let statement = in_order(table, &columns, behind, page.limit.is_some());
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for (_, value) in filter {
        query = query.bind(value.clone());
    }
    if let Some(after) = page.after {
        query = query.bind(after.to_owned());
    }
    if let Some(limit) = page.limit {
        query = query.bind(limit);
    }
    query.fetch_all(conn).await?.iter().map(line).collect()
}

/// The object with this id.
pub async fn get(
    conn: &mut Conn,
    table: &Table,
    scope: Scope<'_>,
    id: &str,
) -> Result<Option<Line>, Error> {
    Ok(list(conn, table, scope, &[("id", id)], ALL).await?.pop())
}

/// Contents of columns.
pub type Cells<'a> = &'a [(&'static str, Cell)];

/// Objects of all owners that have these contents, in no order.
pub async fn matching(
    conn: &mut Conn,
    table: &Table,
    equal: Cells<'_>,
) -> Result<Vec<Line>, Error> {
    let statement = format!("SELECT * FROM {} WHERE {}", table.name, equations(equal));
    let query = sqlx::query(AssertSqlSafe(statement));
    let query = equal.iter().map(|(_, cell)| cell).fold(query, bind);
    query.fetch_all(conn).await?.iter().map(line).collect()
}

/// Of those that have these contents, the one with the largest number in `column` that is `most` or less.
pub async fn nearest(
    conn: &mut Conn,
    table: &Table,
    equal: Cells<'_>,
    (column, most): (&'static str, i64),
) -> Result<Option<Line>, Error> {
    let statement = format!(
        "SELECT * FROM {} WHERE {} AND {column} <= ${} ORDER BY {column} DESC LIMIT 1",
        table.name,
        equations(equal),
        equal.len() + 1
    );
    let query = sqlx::query(AssertSqlSafe(statement));
    let query = equal.iter().map(|(_, cell)| cell).fold(query, bind).bind(most);
    query.fetch_optional(conn).await?.as_ref().map(line).transpose()
}

/// Up to four of those that have `value` in one column and something else than `not` in another; an index of both has them.
pub async fn others(
    conn: &mut Conn,
    table: &Table,
    (column, value): (&'static str, &str),
    (other, not): (&'static str, &str),
) -> Result<Vec<Line>, Error> {
    let mut found = Vec::new();
    for side in ["<", ">"] {
        let statement = format!(
            "SELECT * FROM {} WHERE {column} = $1 AND {other} {side} $2 LIMIT 2",
            table.name
        );
        let query = sqlx::query(AssertSqlSafe(statement)).bind(value.to_owned());
        found.extend(query.bind(not.to_owned()).fetch_all(&mut *conn).await?);
    }
    found.iter().map(line).collect()
}

/// How many objects of all owners have `value` in `column`; no more than `most` are counted.
pub async fn count(
    conn: &mut Conn,
    table: &Table,
    (column, value): (&'static str, &str),
    most: i64,
) -> Result<i64, Error> {
    let statement = format!(
        "SELECT count(*) AS count FROM (SELECT 1 FROM {} WHERE {column} = $1 LIMIT $2) AS counted",
        table.name
    );
    let query = sqlx::query(AssertSqlSafe(statement)).bind(value.to_owned()).bind(most);
    Ok(query.fetch_one(conn).await?.try_get("count")?)
}

fn equations(equal: Cells<'_>) -> String {
    let each: Vec<_> =
        (1..).zip(equal).map(|(number, (column, _))| format!("{column} = ${number}")).collect();
    each.join(" AND ")
}

/// Writes columns of an object and nothing else of it.
pub async fn set_columns(
    conn: &mut Conn,
    table: &Table,
    id: &str,
    cells: Cells<'_>,
) -> Result<(), Error> {
    let each: Vec<_> =
        (2..).zip(cells).map(|(number, (column, _))| format!("{column} = ${number}")).collect();
    let statement = format!("UPDATE {} SET {} WHERE id = $1", table.name, each.join(", "));
    let query = sqlx::query(AssertSqlSafe(statement)).bind(id.to_owned());
    cells.iter().map(|(_, cell)| cell).fold(query, bind).execute(conn).await?;
    Ok(())
}

/// How many objects of all owners have `value` in `column`, and the name of one of them.
pub async fn using(
    conn: &mut Conn,
    table: &Table,
    column: &str,
    value: &str,
) -> Result<Option<(String, i64)>, Error> {
    let statement = format!(
        "SELECT min(name) AS name, count(*) AS count FROM {} WHERE {column} = $1",
        table.name
    );
    let row = sqlx::query(AssertSqlSafe(statement)).bind(value.to_owned()).fetch_one(conn).await?;
    let name: Option<String> = row.try_get("name")?;
    let count: i64 = row.try_get("count")?;
    Ok(name.map(|name| (name, count)))
}

fn line(row: &Row) -> Result<Line, Error> {
    Ok(Line {
        id: row.try_get("id")?,
        owner: Owner { domain: row.try_get("domain")?, account: row.try_get("account")? },
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        body: row.try_get("body")?,
    })
}

/// The next id with `prefix`, such as `n-7`; ids are never used twice.
pub async fn next_id(conn: &mut Conn, prefix: &str) -> Result<String, Error> {
    let row = sqlx::query(
        "INSERT INTO sequences (name, last) VALUES ($1, 1)
         ON CONFLICT (name) DO UPDATE SET last = sequences.last + 1 RETURNING last",
    )
    .bind(prefix.to_owned())
    .fetch_one(conn)
    .await?;
    Ok(format!("{prefix}-{}", row.try_get::<i64, _>(0)?))
}
