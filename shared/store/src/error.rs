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
    /// The service that keeps the keys cannot be reached or does not let us in.
    #[error("the key service is not available: {0}")]
    KeysAway(String),
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
        if is_passing(&error) { Self::Unavailable(error) } else { Self::Sql(error) }
    }
}

/// Whether the same unit of work may well succeed a little later, on another connection.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        // What a server says that dies while it is connected to, or what a proxy says before it.
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(db) => {
            let code = db.code().unwrap_or_default();
            if db.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
                code.parse().is_ok_and(passes_on_sqlite)
            } else {
                passes_on_postgres(&code)
            }
        }
        _ => false,
    }
}

fn passes_on_postgres(code: &str) -> bool {
    // Classes: 08 connection, 40 rolled back (serialization, deadlock), 53 resources (disk, memory,
    // connections), 57P shutting down or starting up. Then: read only (the old primary after a
    // fail-over), idle in a transaction (a process that was stopped), a lock that was not to be had.
    ["08", "40", "53", "57P"].iter().any(|class| code.starts_with(class))
        || ["25006", "25P03", "55P03"].contains(&code)
}

fn passes_on_sqlite(extended: u32) -> bool {
    // The low byte is the primary code: BUSY, LOCKED, NOMEM, IOERR, FULL, CANTOPEN.
    matches!(extended & 0xff, 5 | 6 | 7 | 10 | 13 | 14)
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
            Error::Unavailable(_) => {
                Fault::unavailable("The database is not available at the moment; try again.", error)
            }
            Error::Changed => Fault::new(
                Code::Conflict,
                "Somebody else changed this at the same time. Read it again and repeat.",
            ),
            Error::LeaseLost => Fault::new(Code::LeaseLost, "The lease is no longer held."),
            Error::KeysAway(_) => Fault::unavailable(
                "The service that keeps the keys is not available at the moment; try again.",
                error,
            ),
            // Gone is gone; everything else (a full disk, a server that does not answer) may pass.
            Error::Objects(ref why) if !matches!(why, object_store::Error::NotFound { .. }) => {
                Fault::unavailable(
                    "The artifact store is not available at the moment; try again.",
                    error,
                )
            }
            other => Fault::internal(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        for code in ["08006", "40001", "40P01", "53300", "57P01", "25006", "25P03", "55P03"] {
            assert!(passes_on_postgres(code), "{code}");
        }
        for code in ["23505", "22021", "42601", "25001", ""] {
            assert!(!passes_on_postgres(code), "{code}");
        }
        // BUSY, BUSY_SNAPSHOT, LOCKED, IOERR_FSYNC, FULL.
        for code in [5, 517, 6, 1034, 13] {
            assert!(passes_on_sqlite(code), "{code}");
        }
        // CONSTRAINT_UNIQUE, CORRUPT, ERROR.
        for code in [2067, 11, 1] {
            assert!(!passes_on_sqlite(code), "{code}");
        }
    }

    #[test]
    fn a_server_that_dies_while_it_is_connected_to_is_away() {
        // An empty answer to the first byte that is sent to it.
        let answer = "unexpected response from SSLRequest: 0x00".to_owned();
        let fault = Fault::from(Error::from(sqlx::Error::Protocol(answer)));
        assert_eq!(fault.code, Code::Unavailable);
    }

    #[test]
    fn a_key_service_that_is_away_passes_and_its_words_stay_in_the_log() {
        let fault = Fault::from(Error::KeysAway("Vault is sealed".to_owned()));
        assert_eq!(fault.code, Code::Unavailable);
        assert!(!fault.detail.contains("Vault") && fault.causes().contains("Vault is sealed"));
    }

    #[test]
    fn an_object_store_that_is_away_is_no_mistake_of_ours() {
        let away = |source: &str| object_store::Error::Generic {
            store: "test",
            source: source.to_owned().into(),
        };
        let fault = Fault::from(Error::Objects(away("no space left on device")));
        assert_eq!(fault.code, Code::Unavailable);
        let gone = object_store::Error::NotFound {
            path: "x".to_owned(),
            source: "gone".to_owned().into(),
        };
        assert_eq!(Fault::from(Error::Objects(gone)).code, Code::Internal);
    }
}
