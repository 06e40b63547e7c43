//! Brings the schema up to date. Numbers are equal in both folders of `migrations/`.

use crate::db::Pools;
use crate::error::{Error, Result};

/// Applies what is missing. Several processes may call it at once: on PostgreSQL sqlx takes an
/// advisory lock, on SQLite the writer is one connection under the file lock.
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
