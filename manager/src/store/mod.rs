//! The store: one SQLite file that any number of manager processes may share.
//!
//! Guarantees: a transaction begins as a writer, so two never interleave; parallel requests queue (inside a process on
//! a pool of one writing connection, between processes on SQLite's lock) instead of failing; what was answered is on
//! disk (WAL with full synchronisation). Not here: rules; `ops` judges, the constraints of the schema judge last.

pub mod allocations;
pub mod appliances;
pub mod guests;
pub mod networks;
pub mod observations;
pub mod requests;
mod row;
#[cfg(test)]
mod tests;
pub mod zones;

pub use allocations::Taken;
pub use appliances::{ApplianceRow, WantedRow};
pub use observations::Observation;
pub use requests::StoredAnswer;
pub use row::is_busy;
pub(crate) use row::to_json as row_json;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};
use thiserror::Error;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a transaction waits for its turn before the request fails as busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The lock beside the file.
    #[error("{} cannot be locked", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file itself.
    #[error("{} cannot be opened", path.display())]
    Open {
        /// The store.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// Its schema.
    #[error("the schema of {} cannot be brought up to date", path.display())]
    Migrate {
        /// The store.
        path: PathBuf,
        /// Why.
        #[source]
        source: MigrateError,
    },
}

/// An open store; clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    write: SqlitePool,
    read: SqlitePool,
}

impl Store {
    /// Opens or creates the store at `path` and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let _guard = lock(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let open = |source| OpenError::Open { path: path.to_owned(), source };
        let write = pool(1).connect_with(options.clone()).await.map_err(open)?;
        MIGRATIONS
            .run(&write)
            .await
            .map_err(|source| OpenError::Migrate { path: path.to_owned(), source })?;
        let read = pool(4).connect_with(options).await.map_err(open)?;
        Ok(Self { path: path.to_owned(), write, read })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a transaction that may write; waits for its turn. Dropped without commit it changes nothing.
    pub async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.write.begin_with("BEGIN IMMEDIATE").await {
                // another process holds the lock: SQLite's own wait is not fair, so ask again
                Err(error) if is_busy(&error) && Instant::now() < until => {}
                outcome => return outcome,
            }
        }
    }

    /// A connection for reading.
    pub async fn read(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.read.acquire().await
    }

    /// Closes the store, after which its files may be copied.
    pub async fn close(&self) {
        self.write.close().await;
        self.read.close().await;
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE)
}

/// Holds off other processes while one creates the file or changes its schema; released when dropped.
fn lock(path: &Path) -> Result<File, OpenError> {
    let lock = path.with_extension("lock");
    let failed = |source| OpenError::Lock { path: lock.clone(), source };
    let file =
        File::options().create(true).truncate(false).write(true).open(&lock).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}
