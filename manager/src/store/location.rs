//! Where a store is: a file, or a database by URL.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Conn, OpenError};

/// A store's place: a path is an SQLite file, `postgres://…` a PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// An SQLite file; created if there is none.
    File(PathBuf),
    /// A PostgreSQL database, which must exist.
    Database(String),
}

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Sqlite,
    Postgres,
}

const QUIET: &str = "SET client_min_messages = warning";
/// A manager that has its turn and says nothing for so long, because it is halted or cut off, loses it: the database ends its
/// transaction, and what it asks next is refused. A setting of the database's own, or of the URL, stays.
const LEASE: &str = "SELECT set_config('idle_in_transaction_session_timeout', \
    CASE current_setting('idle_in_transaction_session_timeout') WHEN '0' THEN '20s' \
    ELSE current_setting('idle_in_transaction_session_timeout') END, false)";
/// How long a writer waits for its turn before the request fails as busy.
const PATIENCE: &str = "SET lock_timeout = '60s'";

impl Form {
    pub(super) fn writers(self) -> u32 {
        match self {
            // a second one could only wait for the first
            Self::Sqlite => 1,
            Self::Postgres => 8,
        }
    }

    pub(super) fn readers(self) -> u32 {
        match self {
            Self::Sqlite => 4,
            Self::Postgres => 16,
        }
    }

    /// Settings of a new connection; `writer`: it is for transactions that write.
    pub(super) async fn prepare(self, conn: &mut Conn, writer: bool) -> Result<(), sqlx::Error> {
        let settings: &[&'static str] = match (self, writer) {
            (Self::Sqlite, _) => &[
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = FULL",
                "PRAGMA foreign_keys = ON",
                "PRAGMA busy_timeout = 5000",
            ],
            (Self::Postgres, false) => &[QUIET],
            (Self::Postgres, true) => &[QUIET, LEASE, PATIENCE],
        };
        for setting in settings {
            sqlx::query(*setting).execute(&mut *conn).await?;
        }
        Ok(())
    }
}

impl Location {
    pub(super) fn form(&self) -> Form {
        match self {
            Self::File(_) => Form::Sqlite,
            Self::Database(_) => Form::Postgres,
        }
    }

    pub(super) fn url(&self) -> String {
        match self {
            Self::File(path) => format!("sqlite://{}?mode=rwc", escaped(path)),
            Self::Database(url) => url.clone(),
        }
    }

    /// The file's path, if it is a file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Database(_) => None,
        }
    }

    /// Holds off other processes while one creates the file or changes its schema; released when dropped. A database
    /// does that by itself.
    pub(super) fn lock(&self) -> Result<Option<File>, OpenError> {
        let Self::File(path) = self else { return Ok(None) };
        let lock = path.with_extension("lock");
        let failed = |source| OpenError::Lock { path: lock.clone(), source };
        let file =
            File::options().create(true).truncate(false).write(true).open(&lock).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(Some(file))
    }
}

/// A path as part of a URL: what has a meaning of its own there is written by its number.
fn escaped(path: &Path) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~+".contains(c);
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        if plain(c) {
            text.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    text
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl FromStr for Location {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let database = ["postgres://", "postgresql://"].iter().any(|way| text.starts_with(way));
        Ok(if database { Self::Database(text.to_owned()) } else { Self::File(text.into()) })
    }
}

/// Without a password, so that it may be logged.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Database(url) => {
                let (way, rest) = url.split_once("://").unwrap_or(("", url));
                let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
                let place = place.split('?').next().unwrap_or(place);
                write!(f, "{way}://{place}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_database_and_everything_else_a_file() {
        let there = |text: &str| text.parse::<Location>().unwrap();
        assert_eq!(there("sluice.db"), Location::File("sluice.db".into()));
        let database = there("postgres://u:secret@db.example:5432/sluice?sslmode=require");
        assert_eq!(database.to_string(), "postgres://db.example:5432/sluice");
        assert_eq!(escaped(Path::new("/a b/c?.db")), "/a%20b/c%3F.db");
    }
}
