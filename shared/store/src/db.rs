//! The two engines behind one type, and the macros that send one text to either.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, Postgres, Sqlite, SqliteConnection,
    Transaction,
};

use crate::artifact::Blobs;
use crate::crypto::{Keyring, Keys};
use crate::error::{Error, Result};

/// Where the database is.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A SQLite file, made when missing.
    Sqlite(PathBuf),
    /// SQLite in memory; gone with the store. For tests.
    Memory,
    /// A PostgreSQL URL.
    Postgres(String),
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Memory => f.write_str("sqlite::memory:"),
            Self::Postgres(_) => f.write_str("postgres://***"),
        }
    }
}

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the database is.
    pub database: DatabaseUrl,
    /// Connections at most (PostgreSQL), or readers (SQLite).
    pub max_connections: u32,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// Directory of the artifacts that are too large for a row.
    pub artifacts_dir: PathBuf,
    /// Artifacts up to this many bytes are kept in a row.
    pub inline_max_bytes: usize,
}

#[derive(Clone)]
enum Db {
    /// SQLite has one writer at a time; giving it one connection makes waiting for it fair and
    /// keeps `SQLITE_BUSY` out of the picture.
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(PgPool),
}

/// The open store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Db,
    pub(crate) keys: Arc<Keys>,
    house: Arc<Keyring>,
    pub(crate) blobs: Blobs,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.engine())
    }
}

/// One unit of work: reads, or reads and writes that become visible together.
pub struct Tx {
    inner: Inner,
    pub(crate) keys: Arc<Keys>,
    pub(crate) house: Arc<Keyring>,
}

enum Inner {
    SqliteRead(PoolConnection<Sqlite>),
    SqliteWrite(Transaction<'static, Sqlite>),
    /// Each statement is a unit of work.
    PostgresPlain(PoolConnection<Postgres>),
    PostgresWrite(Transaction<'static, Postgres>),
}

/// The connection of a [`Tx`], by engine.
pub(crate) enum Conn<'a> {
    /// SQLite.
    Sqlite(&'a mut SqliteConnection),
    /// PostgreSQL.
    Postgres(&'a mut PgConnection),
}

impl Store {
    /// Opens the database, makes it if it is a missing SQLite file, and brings its schema up to
    /// date. Several processes may do so at once.
    pub async fn open(options: &Options, keys: impl Into<Keys>) -> Result<Self> {
        Self::open_without_house(options, keys).await?.with_house().await
    }

    /// The same store with its house keys, for one that was opened without.
    pub async fn with_house(mut self) -> Result<Self> {
        self.house = Arc::new(self.house_keys().await?);
        Ok(self)
    }

    /// Like [`Store::open`], also when the keys do not open what is sealed here: to see which ones
    /// would. There are no house keys in it.
    pub async fn open_without_house(options: &Options, keys: impl Into<Keys>) -> Result<Self> {
        // Before it is connected to: where a file becomes a database with a log of its own
        // (`journal_mode`), SQLite does not wait for who else does the same.
        let alone = match &options.database {
            DatabaseUrl::Sqlite(path) => {
                make_directory(path).await?;
                crate::migrate::alone(path, options.connect_timeout).await?
            }
            // PostgreSQL has a lock for it; what is in memory has nobody else.
            DatabaseUrl::Postgres(_) | DatabaseUrl::Memory => None,
        };
        let db = connect(options).await?;
        crate::migrate::run(&db).await?;
        drop(alone);
        Self::of(db, options, keys.into())
    }

    /// A store whose house keys are not read yet.
    fn of(db: Pools, options: &Options, keys: Keys) -> Result<Self> {
        let blobs = Blobs::open(&options.artifacts_dir, options.inline_max_bytes)?;
        let house = Arc::new(Keyring::empty());
        Ok(Self { db: db.into_db(), keys: Arc::new(keys), house, blobs })
    }

    /// Looks at a database as it is, and changes nothing in it: how many migrations are missing,
    /// and, when none is, whether `keys` open what is sealed in it. A SQLite file must exist.
    pub async fn look(options: &Options, keys: impl Into<Keys>) -> Result<usize> {
        let pools = connect(options).await?;
        let missing = crate::migrate::missing(&pools).await?;
        let store = Self::of(pools, options, keys.into())?;
        let opened = if missing == 0 { store.check_keys().await } else { Ok(()) };
        store.close().await;
        opened.map(|()| missing)
    }

    /// Whether the keys open what is sealed here: the house key and the newest deployment's
    /// variables are tried.
    pub async fn check_keys(&self) -> Result<()> {
        self.kept_house_key().await?;
        let mut tx = self.read().await?;
        let newest = tx.newest_deployment().await?;
        match newest {
            Some(id) => tx.variables(id).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// `sqlite` or `postgres`.
    pub fn engine(&self) -> &'static str {
        match &self.db {
            Db::Sqlite { .. } => "sqlite",
            Db::Postgres(_) => "postgres",
        }
    }

    /// A unit of work that writes.
    pub async fn begin(&self) -> Result<Tx> {
        let inner = match &self.db {
            // Taking the write lock at once, not at the first write, keeps two units of work from
            // reading the same row and then failing over each other.
            Db::Sqlite { write, .. } => {
                Inner::SqliteWrite(write.begin_with("begin immediate").await?)
            }
            Db::Postgres(pool) => Inner::PostgresWrite(pool.begin().await?),
        };
        Ok(Tx { inner, keys: self.keys.clone(), house: self.house.clone() })
    }

    /// For what one statement does ([`Tx::is_single`]). On PostgreSQL each statement is a unit of
    /// work, done when it is done: where a unit begins and ends is not told, which are two round
    /// trips of their own.
    pub async fn single(&self) -> Result<Tx> {
        let inner = match &self.db {
            Db::Sqlite { .. } => return self.begin().await,
            Db::Postgres(pool) => Inner::PostgresPlain(pool.acquire().await?),
        };
        Ok(Tx { inner, keys: self.keys.clone(), house: self.house.clone() })
    }

    /// A unit of work that only reads; statements see the newest committed rows.
    pub async fn read(&self) -> Result<Tx> {
        let inner = match &self.db {
            Db::Sqlite { read, .. } => Inner::SqliteRead(read.acquire().await?),
            Db::Postgres(pool) => Inner::PostgresPlain(pool.acquire().await?),
        };
        Ok(Tx { inner, keys: self.keys.clone(), house: self.house.clone() })
    }

    /// The same store with other keys: what was sealed before cannot be opened.
    #[must_use]
    pub fn with_keys(&self, keys: impl Into<Keys>) -> Self {
        Self { keys: Arc::new(keys.into()), ..self.clone() }
    }

    /// The installation's own keys: for digests that must stay the same, and for what is sealed
    /// and given away, for clients to keep. They stay when the keys that seal what is kept are
    /// rotated.
    pub fn house(&self) -> &Keyring {
        &self.house
    }

    /// The keys that seal what is kept.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Asks the database something simple.
    pub async fn ping(&self) -> Result<()> {
        let mut tx = self.read().await?;
        sql!(scalar i64, &mut tx, "select cast(1 as bigint)")?;
        Ok(())
    }

    /// Closes every connection; waits for those in use.
    pub async fn close(&self) {
        match &self.db {
            Db::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Makes everything written so far durable and visible.
    pub async fn commit(self) -> Result<()> {
        match self.inner {
            Inner::SqliteWrite(tx) => tx.commit().await?,
            Inner::PostgresWrite(tx) => tx.commit().await?,
            Inner::SqliteRead(_) | Inner::PostgresPlain(_) => {}
        }
        Ok(())
    }

    /// Takes everything back. Dropping does the same, but later: its locks may still be held when
    /// whoever dropped it goes on.
    pub async fn rollback(self) -> Result<()> {
        match self.inner {
            Inner::SqliteWrite(tx) => tx.rollback().await?,
            Inner::PostgresWrite(tx) => tx.rollback().await?,
            Inner::SqliteRead(_) | Inner::PostgresPlain(_) => {}
        }
        Ok(())
    }

    /// Whether every statement is a unit of work of its own, done when it is done.
    pub const fn is_single(&self) -> bool {
        matches!(self.inner, Inner::PostgresPlain(_))
    }

    pub(crate) const fn is_postgres(&self) -> bool {
        matches!(self.inner, Inner::PostgresPlain(_) | Inner::PostgresWrite(_))
    }

    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match &mut self.inner {
            Inner::SqliteRead(c) => Conn::Sqlite(c),
            Inner::SqliteWrite(c) => Conn::Sqlite(c),
            Inner::PostgresPlain(c) => Conn::Postgres(c),
            Inner::PostgresWrite(c) => Conn::Postgres(c),
        }
    }
}

/// Open pools, before they are known to have the right schema.
pub(crate) enum Pools {
    Sqlite { write: SqlitePool, read: SqlitePool },
    Postgres(PgPool),
}

impl Pools {
    fn into_db(self) -> Db {
        match self {
            Self::Sqlite { write, read } => Db::Sqlite { write, read },
            Self::Postgres(pool) => Db::Postgres(pool),
        }
    }
}

/// A connection that was idle for longer is asked whether it is still there before it is used.
const RESTED: Duration = Duration::from_millis(500);

/// What every session with PostgreSQL is set to.
///
/// - A process that was stopped in the middle of a unit of work must not keep its locks: the reaper
///   and everybody else would wait for it.
/// - Every statement here is prepared, is made for an index and touches few rows. Planning such a
///   statement anew each time costs as much as doing it; and plans that follow the statistics of a
///   young table read all of it when it has grown, until somebody analyses it. So: one plan a
///   statement, by index wherever there is one. (Without `jit = off`, a statement that has no index
///   would be taken for a costly one and compiled.)
const SESSION: &str = "set idle_in_transaction_session_timeout = '30s';
    set plan_cache_mode = force_generic_plan;
    set enable_seqscan = off;
    set jit = off";

/// Makes the directory of a SQLite database.
async fn make_directory(database: &Path) -> Result<()> {
    let Some(dir) = database.parent() else { return Ok(()) };
    tokio::fs::create_dir_all(dir)
        .await
        .map_err(|e| Error::Config(format!("cannot make the directory {}: {e}", dir.display())))
}

async fn connect(options: &Options) -> Result<Pools> {
    let sqlite = |connect: SqliteConnectOptions| {
        connect
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Accepted means durable, also over a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(options.connect_timeout)
            .pragma("temp_store", "memory")
            .disable_statement_logging()
    };
    let pool = |max: u32| {
        SqlitePoolOptions::new()
            .max_connections(max)
            .min_connections(1)
            .acquire_timeout(options.connect_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    match &options.database {
        DatabaseUrl::Sqlite(path) => {
            make_directory(path).await?;
            // Before SQLite opens it: the files that SQLite makes beside it get its mode.
            restrict(path)?;
            let connect = sqlite(SqliteConnectOptions::new().filename(path));
            let write = pool(1).connect_with(connect.clone()).await?;
            let read = pool(options.max_connections).connect_with(connect.read_only(true)).await?;
            Ok(Pools::Sqlite { write, read })
        }
        DatabaseUrl::Memory => {
            let connect = sqlite(SqliteConnectOptions::from_str("sqlite::memory:")?);
            let one = pool(1).connect_with(connect).await?;
            Ok(Pools::Sqlite { write: one.clone(), read: one })
        }
        DatabaseUrl::Postgres(url) => {
            let connect = PgConnectOptions::from_str(url)
                .map_err(|_| Error::Config("database.url is not a PostgreSQL URL".to_owned()))?
                .application_name("slipway")
                .disable_statement_logging();
            let pool = PgPoolOptions::new()
                .max_connections(options.max_connections)
                .min_connections(1)
                .acquire_timeout(options.connect_timeout)
                .test_before_acquire(false)
                .before_acquire(|connection, about| {
                    Box::pin(async move {
                        // One that was used a moment ago is there; asking it would cost every unit
                        // of work a round trip. One that has died fails here, and another is made.
                        if about.idle_for > RESTED {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                })
                .after_connect(|connection, _| {
                    Box::pin(
                        async move { sqlx::raw_sql(SESSION).execute(connection).await.map(|_| ()) },
                    )
                })
                .connect_with(connect)
                .await?;
            Ok(Pools::Postgres(pool))
        }
    }
}

/// The database holds sealed secrets, but also names and plans: its owner alone may read it.
fn restrict(path: &std::path::Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        let restricted = || {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        };
        restricted().map_err(|e| {
            Error::Config(format!("cannot restrict the mode of {}: {e}", path.display()))
        })?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Sends one statement, with `$1…` placeholders, to whichever engine the unit of work is on.
///
/// - `sql!(execute tx, "…", binds…)` → rows affected
/// - `sql!(all Row, tx, "…", binds…)` → `Vec<Row>`
/// - `sql!(maybe Row, tx, "…", binds…)` → `Option<Row>`
/// - `sql!(scalar T, tx, "…", binds…)` → `T`
/// - `sql!(scalar_maybe T, tx, "…", binds…)` → `Option<T>`
macro_rules! sql {
    (execute $tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match ($tx).conn() {
            $crate::db::Conn::Sqlite(c) => sqlx::query::<sqlx::Sqlite>($sql)$(.bind($bind))*
                .execute(c).await.map(|r| r.rows_affected()).map_err($crate::error::Error::from),
            $crate::db::Conn::Postgres(c) => sqlx::query::<sqlx::Postgres>($sql)$(.bind($bind))*
                .execute(c).await.map(|r| r.rows_affected()).map_err($crate::error::Error::from),
        }
    };
    (all $row:ty, $tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match ($tx).conn() {
            $crate::db::Conn::Sqlite(c) => sqlx::query_as::<sqlx::Sqlite, $row>($sql)$(.bind($bind))*
                .fetch_all(c).await.map_err($crate::error::Error::from),
            $crate::db::Conn::Postgres(c) => sqlx::query_as::<sqlx::Postgres, $row>($sql)$(.bind($bind))*
                .fetch_all(c).await.map_err($crate::error::Error::from),
        }
    };
    (maybe $row:ty, $tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match ($tx).conn() {
            $crate::db::Conn::Sqlite(c) => sqlx::query_as::<sqlx::Sqlite, $row>($sql)$(.bind($bind))*
                .fetch_optional(c).await.map_err($crate::error::Error::from),
            $crate::db::Conn::Postgres(c) => sqlx::query_as::<sqlx::Postgres, $row>($sql)$(.bind($bind))*
                .fetch_optional(c).await.map_err($crate::error::Error::from),
        }
    };
    (scalar $t:ty, $tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match ($tx).conn() {
            $crate::db::Conn::Sqlite(c) => sqlx::query_scalar::<sqlx::Sqlite, $t>($sql)$(.bind($bind))*
                .fetch_one(c).await.map_err($crate::error::Error::from),
            $crate::db::Conn::Postgres(c) => sqlx::query_scalar::<sqlx::Postgres, $t>($sql)$(.bind($bind))*
                .fetch_one(c).await.map_err($crate::error::Error::from),
        }
    };
    (scalar_maybe $t:ty, $tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match ($tx).conn() {
            $crate::db::Conn::Sqlite(c) => sqlx::query_scalar::<sqlx::Sqlite, $t>($sql)$(.bind($bind))*
                .fetch_optional(c).await.map_err($crate::error::Error::from),
            $crate::db::Conn::Postgres(c) => sqlx::query_scalar::<sqlx::Postgres, $t>($sql)$(.bind($bind))*
                .fetch_optional(c).await.map_err($crate::error::Error::from),
        }
    };
}
pub(crate) use sql;
