//! The store: an SQLite file that manager processes of one machine share, or a PostgreSQL database for those of several.
//!
//! Guarantees: one code and one set of statements for both; a transaction that may write has its turn alone, so two never
//! interleave, and parallel requests queue, or share one, instead of failing; what was answered is on disk. Not here: rules; `ops` and
//! the kinds judge, the constraints of the schema judge last.
//!
//! Rejected: the typed pools of sqlx, one per database, which would double every statement; and PostgreSQL's finer locks,
//! under which each rule between rows (overlaps, pools, names) would need a lock of its own to stay true.

pub mod allocations;
pub mod audit;
pub mod backup;
pub mod blobs;
pub mod consoles;
pub mod facts;
mod location;
pub mod objects;
pub mod observations;
pub mod outcomes;
mod owner;
mod packed;
pub mod promises;
pub mod reports;
pub mod requests;
mod row;
mod together;
pub mod tokens;
pub mod wanted;

pub use allocations::Taken;
pub use location::Location;
pub use observations::{LastAnswer, Observation};
pub use outcomes::{GenerationStatus, Outcome};
pub use owner::{Owner, Scope};
pub use requests::StoredAnswer;
pub use row::is_busy;
pub(crate) use row::{from_json, to_json};
pub use together::Part;
pub use wanted::{MachineRow, WantedRow};

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use sqlx::SqlStr;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, AssertSqlSafe, Row as _, Transaction};
use thiserror::Error;

use self::location::Form;

/// A connection to either database.
pub type Conn = sqlx::AnyConnection;
/// A row of either database.
pub type Row = sqlx::any::AnyRow;

/// Number, what it is about, and statements of each migration, in order.
const STATEMENTS: &[(i64, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let each = STATEMENTS.iter().map(|(version, about, statements)| {
        let (about, statements) = (Cow::Borrowed(*about), SqlStr::from_static(statements));
        Migration::new(*version, about, MigrationType::Simple, statements, false)
    });
    Migrator::with_migrations(each.collect())
});

/// How long a transaction waits for its turn before the request fails as busy.
const PATIENCE: Duration = Duration::from_mins(1);
/// Wait before a transaction that could not begin is tried again.
const AGAIN: Duration = Duration::from_millis(5);
/// The lock that writers of a PostgreSQL store take one after the other. In a message of its own after `BEGIN`: a caller that
/// goes away while it waits leaves a transaction that is known, and ended, rather than one that keeps the turn.
const TURN: &str = "SELECT pg_advisory_xact_lock(3920)";

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
    /// The store itself.
    #[error("{location} cannot be opened")]
    Open {
        /// The store, without its password.
        location: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// Its schema.
    #[error("the schema of {location} cannot be brought up to date")]
    Migrate {
        /// The store, without its password.
        location: String,
        /// Why.
        #[source]
        source: MigrateError,
    },
}

/// An open store; clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    location: Location,
    write: AnyPool,
    read: AnyPool,
    together: Arc<together::Queue>,
}

impl Store {
    /// Opens or creates the store at `location` and brings its schema up to date.
    pub async fn open(location: &Location) -> Result<Self, OpenError> {
        Self::open_at(location, i64::MAX).await
    }

    /// The newest version of the schema.
    pub fn schema() -> i64 {
        MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
    }

    /// The same with the schema of version `schema`, which an older build had.
    pub async fn open_at(location: &Location, schema: i64) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let _guard = location.lock()?;
        let open = |source| OpenError::Open { location: location.to_string(), source };
        let options: AnyConnectOptions = location.url().parse().map_err(open)?;
        let form = location.form();
        let write =
            pool(form, form.writers(), true).connect_with(options.clone()).await.map_err(open)?;
        up_to(schema)
            .run(&write)
            .await
            .map_err(|source| OpenError::Migrate { location: location.to_string(), source })?;
        let read = pool(form, form.readers(), false).connect_with(options).await.map_err(open)?;
        Ok(Self { location: location.clone(), write, read, together: Arc::default() })
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Begins a transaction that reads everything as of one moment.
    pub async fn snapshot(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.location.form() {
            Form::Sqlite => self.read.begin_with("BEGIN").await,
            Form::Postgres => {
                self.read.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
            }
        }
    }

    /// Begins a transaction that may write; waits for its turn. Dropped without commit it changes nothing.
    pub async fn begin(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.begin_now().await {
                // another process holds the lock: SQLite's own wait is not fair, so ask again
                Err(error) if is_busy(&error) && Instant::now() < until => {
                    tokio::time::sleep(AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// The same for a change that does not take long: those that come at once share a transaction.
    pub async fn join(&self) -> Result<Part, sqlx::Error> {
        Part::of(&self.together, self.begin()).await
    }

    /// The same for one that takes long: nobody else has to wait for its end.
    pub async fn apart(&self) -> Result<Part, sqlx::Error> {
        self.begin().await.map(Part::alone)
    }

    async fn begin_now(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.location.form() {
            Form::Sqlite => self.write.begin_with("BEGIN IMMEDIATE").await,
            Form::Postgres => {
                let mut transaction = self.write.begin().await?;
                sqlx::query(TURN).execute(&mut *transaction).await?;
                Ok(transaction)
            }
        }
    }

    /// The number of a look at `appliance` that begins now: no smaller than that of any that was written before. It is the
    /// database's time in milliseconds, since managers' clocks differ; a file is used on one machine, which has one clock. A
    /// clock that was set back makes it wait where it is.
    pub async fn look(&self, conn: &mut Conn, appliance: &str) -> Result<i64, sqlx::Error> {
        let newest = "SELECT max(looked) FROM (
             SELECT looked FROM observations WHERE appliance = $1
             UNION ALL SELECT looked FROM reports WHERE appliance = $1) AS looks";
        let clock = match self.location.form() {
            Form::Sqlite => "$2",
            // `$2` is there, so that both are asked alike
            Form::Postgres => {
                "CASE WHEN $2 < 0 THEN 0
                     ELSE CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) END"
            }
        };
        let statement = format!("SELECT {clock} AS clock, ({newest}) AS newest");
        let query = sqlx::query(AssertSqlSafe(statement)).bind(appliance.to_owned());
        let row = query.bind(observations::now_ms()).fetch_one(conn).await?;
        let (clock, newest): (i64, Option<i64>) = (row.try_get("clock")?, row.try_get("newest")?);
        Ok(newest.map_or(clock, |newest| clock.max(newest)))
    }

    /// A connection for reading.
    pub async fn read(&self) -> Result<PoolConnection<Any>, sqlx::Error> {
        self.read.acquire().await
    }

    /// Closes the store.
    pub async fn close(&self) {
        self.write.close().await;
        self.read.close().await;
    }
}

/// The migrations up to version `schema`.
fn up_to(schema: i64) -> Migrator {
    let wanted = MIGRATIONS.iter().filter(|migration| migration.version <= schema);
    Migrator::with_migrations(wanted.cloned().collect())
}

fn pool(form: Form, connections: u32, writer: bool) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .after_connect(move |conn, _| Box::pin(async move { form.prepare(conn, writer).await }))
}
