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
