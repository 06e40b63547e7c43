//! What can go wrong in the store, and what the rest of the house sees of it.

use slipway_domain::fault::{Code, Fault};

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached or does not answer in time.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A statement failed.
    #[error("a database statement failed")]
    Sql(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the database schema could not be migrated")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A row holds what this version does not understand.
    #[error("a row of {table} cannot be read: {detail}")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Somebody else changed the row in between.
    #[error("the row was changed by somebody else at the same time")]
    Changed,
    /// The writer's lease is not the current one.
    #[error("the lease of this job is no longer held")]
    LeaseLost,
    /// A sealed value cannot be opened: wrong key, or it was moved or altered.
    #[error("a sealed value cannot be opened: {0}")]
    Sealed(String),
    /// The object store failed.
    #[error("the artifact store failed")]
    Objects(#[source] object_store::Error),
    /// The configuration of the store makes no sense.
    #[error("{0}")]
    Config(String),
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_connection_loss(&error) { Self::Unavailable(error) } else { Self::Sql(error) }
    }
}

/// Whether the same statement may well work a little later, on another connection.
fn is_connection_loss(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(db) => {
            // PostgreSQL class 08 (connection), 53 (resources), 57P0x (shutting down, starting up).
            db.code().is_some_and(|code| {
                code.starts_with("08") || code.starts_with("53") || code.starts_with("57P")
            })
        }
        _ => false,
    }
}

impl Error {
    /// A unique index refused the row.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::Database(db)) if db.is_unique_violation())
    }

    pub(crate) fn corrupt(table: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Corrupt { table, detail: detail.to_string() }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(_) => Fault::unavailable(
                "The database is not available at the moment. Nothing was changed; try again.",
                error,
            ),
            Error::Changed => Fault::new(
                Code::Conflict,
                "Somebody else changed this at the same time. Read it again and repeat.",
            ),
            Error::LeaseLost => Fault::new(Code::LeaseLost, "The lease is no longer held."),
            other => Fault::internal(other),
        }
    }
}
