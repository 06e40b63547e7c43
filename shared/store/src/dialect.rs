//! The only place where the two engines' texts differ.
//!
//! Statements that need the database's own clock or row locks hold marks that [`fill`] replaces;
//! the marks are constants, so no input can reach the text.

use sqlx::AssertSqlSafe;

use crate::db::{Conn, Tx};

/// PostgreSQL's text cannot hold NUL. What a tool said may, and must be kept all the same.
pub(crate) fn without_nul(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Milliseconds since 1970 on the database's clock.
const NOW_MS_SQLITE: &str = "cast(unixepoch('now', 'subsec') * 1000 as integer)";
const NOW_MS_POSTGRES: &str = "cast(extract(epoch from clock_timestamp()) * 1000 as bigint)";

/// Fills `{now_ms}`, `{for_update}`, `{for_share}` and `{skip_locked}` for the engine of `tx`.
pub(crate) fn fill(tx: &mut Tx, text: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(filled(tx, text))
}

/// The text of [`fill`], to be gone on with.
///
/// SQLite needs no row locks: a unit of work that writes has the whole database. On PostgreSQL the
/// locks are `no key` ones: rows that refer to a locked row may be inserted meanwhile, so checks of
/// foreign keys take no part in the order in which rows are locked.
pub(crate) fn filled(tx: &mut Tx, text: &'static str) -> String {
    match tx.conn() {
        Conn::Sqlite(_) => text
            .replace("{now_ms}", NOW_MS_SQLITE)
            .replace("{for_update}", "")
            .replace("{for_share}", "")
            .replace("{skip_locked}", ""),
        Conn::Postgres(_) => text
            .replace("{now_ms}", NOW_MS_POSTGRES)
            .replace("{for_update}", "for no key update")
            .replace("{for_share}", "for share")
            .replace("{skip_locked}", "for no key update skip locked"),
    }
}
