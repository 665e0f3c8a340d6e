//! From columns to checked types.

use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;

use super::Row;
use crate::error::Error;

/// True when the error is a lock held by another, a queue that is too long, or a transaction that has to be begun again:
/// a retry can help.
pub fn is_busy(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| busy_code(&code)),
        // a database that is started anew is back in a moment
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => true,
        _ => false,
    }
}

/// PostgreSQL's codes have five characters: 25P03 the turn was lost, 40001 serialisation, 40P01 deadlock, 55P03 no turn in time, 57P01 to 57P03
/// going down or coming up, 53300 too many connections. SQLite's are numbers: 5 SQLITE_BUSY, 6 SQLITE_LOCKED and their
/// extended codes.
fn busy_code(code: &str) -> bool {
    if matches!(code, "25P03" | "40001" | "40P01" | "55P03" | "57P01" | "57P02" | "57P03" | "53300")
    {
        return true;
    }
    code.len() < 5 && code.parse::<i64>().is_ok_and(|code| matches!(code & 0xff, 5 | 6))
}

/// A text column as the type that wrote it.
pub(super) fn parsed<T>(row: &Row, column: &'static str) -> Result<T, Error>
where
    T: FromStr,
    T::Err: ToString,
{
    text(&row.try_get::<String, _>(column)?, column)
}

/// A text column that may be absent.
pub(super) fn optional<T>(row: &Row, column: &'static str) -> Result<Option<T>, Error>
where
    T: FromStr,
    T::Err: ToString,
{
    row.try_get::<Option<String>, _>(column)?.map(|value| text(&value, column)).transpose()
}

fn text<T>(value: &str, what: &'static str) -> Result<T, Error>
where
    T: FromStr,
    T::Err: ToString,
{
    value.parse().map_err(|error: T::Err| Error::Corrupt { what, reason: error.to_string() })
}

/// An integer column as a ranged number.
pub(super) fn number<T>(row: &Row, column: &'static str) -> Result<T, Error>
where
    T: TryFrom<u64>,
    T::Error: ToString,
{
    ranged(row.try_get(column)?, column)
}

/// An integer column that may be absent.
pub(super) fn optional_number<T>(row: &Row, column: &'static str) -> Result<Option<T>, Error>
where
    T: TryFrom<u64>,
    T::Error: ToString,
{
    row.try_get::<Option<i64>, _>(column)?.map(|value| ranged(value, column)).transpose()
}

fn ranged<T>(value: i64, what: &'static str) -> Result<T, Error>
where
    T: TryFrom<u64>,
    T::Error: ToString,
{
    let corrupt = |reason: String| Error::Corrupt { what, reason };
    let value = u64::try_from(value).map_err(|_| corrupt(format!("{value} is negative")))?;
    T::try_from(value).map_err(|error| corrupt(error.to_string()))
}

/// A word column, as serde spells an enum.
pub(super) fn word<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T, Error> {
    let value: String = row.try_get(column)?;
    serde_json::from_value(value.into())
        .map_err(|error| Error::Corrupt { what: column, reason: error.to_string() })
}

/// JSON text from the store.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt { what, reason: error.to_string() })
}

/// JSON text for the store.
pub(crate) fn to_json<T: Serialize>(value: &T, what: &'static str) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Corrupt { what, reason: error.to_string() })
}

/// The word by which serde spells an enum.
pub(crate) fn to_word<T: Serialize>(value: &T, what: &'static str) -> Result<String, Error> {
    Ok(to_json(value, what)?.trim_matches('"').to_owned())
}
