//! Brings the schema up to date. Numbers are equal in both folders of `migrations/`.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::db::Pools;
use crate::error::{Error, Result};

/// How often it is looked whether another process is done.
const AGAIN: Duration = Duration::from_millis(20);

/// Keeps other processes from making the schema of a SQLite database until this is dropped: sqlx
/// looks what is missing before it takes the database's own lock. What is locked is the directory
/// (a lock on the file itself would meet SQLite's), so nothing is left behind. `None` where the file
/// system has no locks.
pub(crate) async fn alone(database: &Path, patience: Duration) -> Result<Option<File>> {
    let dir = database.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    let opened = File::open(dir);
    let file = opened.map_err(|e| Error::Config(format!("cannot open {}: {e}", dir.display())))?;
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Config(format!(
                    "another process has been making the schema of {} for {} s; look what it waits \
                     for, or end it",
                    database.display(),
                    patience.as_secs()
                )));
            }
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, dir = %dir.display(), "no lock for the schema");
                return Ok(None);
            }
        }
    }
}

/// Applies what is missing. Several processes may call it at once: on PostgreSQL sqlx takes an
/// advisory lock, on SQLite they call it [`alone`].
pub(crate) async fn run(pools: &Pools) -> Result<()> {
    let done = match pools {
        Pools::Sqlite { write, .. } => sqlx::migrate!("../../migrations/sqlite").run(write).await,
        Pools::Postgres(pool) => sqlx::migrate!("../../migrations/postgres").run(pool).await,
    };
    done.map_err(Error::Migrate)
}

/// How many migrations are missing. Changes nothing.
pub(crate) async fn missing(pools: &Pools) -> Result<usize> {
    let (migrator, applied) = match pools {
        Pools::Sqlite { write, .. } => {
            let there = "select count(*) from sqlite_master where name = '_sqlx_migrations'";
            let there: i64 = sqlx::query_scalar(there).fetch_one(write).await?;
            let applied = if there == 0 {
                Vec::new()
            } else {
                sqlx::query_scalar::<_, i64>(APPLIED).fetch_all(write).await?
            };
            (sqlx::migrate!("../../migrations/sqlite"), applied)
        }
        Pools::Postgres(pool) => {
            let there = "select to_regclass('_sqlx_migrations') is not null";
            let there: bool = sqlx::query_scalar(there).fetch_one(pool).await?;
            let applied = if there {
                sqlx::query_scalar::<_, i64>(APPLIED).fetch_all(pool).await?
            } else {
                Vec::new()
            };
            (sqlx::migrate!("../../migrations/postgres"), applied)
        }
    };
    Ok(migrator.iter().filter(|migration| !applied.contains(&migration.version)).count())
}

const APPLIED: &str = "select version from _sqlx_migrations where success";
