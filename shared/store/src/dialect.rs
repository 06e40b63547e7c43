//! The only place where the two engines' texts differ.
//!
//! Statements that need the database's own clock or row locks hold marks that [`fill`] replaces;
//! the marks are constants, so no input can reach the text.

use sqlx::AssertSqlSafe;

use crate::db::{Conn, Tx};

/// Milliseconds since 1970 on the database's clock.
const NOW_MS_SQLITE: &str = "cast(unixepoch('now', 'subsec') * 1000 as integer)";
const NOW_MS_POSTGRES: &str = "cast(extract(epoch from clock_timestamp()) * 1000 as bigint)";

/// Fills `{now_ms}`, `{for_update}` and `{skip_locked}` for the engine of `tx`.
///
/// SQLite needs no row locks: a unit of work that writes has the whole database.
pub(crate) fn fill(tx: &mut Tx, text: &'static str) -> AssertSqlSafe<String> {
    let filled = match tx.conn() {
        Conn::Sqlite(_) => text
            .replace("{now_ms}", NOW_MS_SQLITE)
            .replace("{for_update}", "")
            .replace("{skip_locked}", ""),
        Conn::Postgres(_) => text
            .replace("{now_ms}", NOW_MS_POSTGRES)
            .replace("{for_update}", "for update")
            .replace("{skip_locked}", "for update skip locked"),
    };
    AssertSqlSafe(filled)
}
