//! The only place where the two engines' texts differ.
//!
//! Statements that need the database's own clock or row locks hold marks that [`fill`] replaces;
//! the marks are constants, so no input can reach the text.

use std::fmt::Write as _;

use slipway_domain::access::Reach;
use sqlx::AssertSqlSafe;

use crate::db::{Conn, Tx};

/// PostgreSQL's text cannot hold NUL. What a tool said may, and must be kept all the same.
pub(crate) fn without_nul(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Milliseconds since 1970 on the database's clock.
const NOW_MS_SQLITE: &str = "cast(unixepoch('now', 'subsec') * 1000 as integer)";
const NOW_MS_POSTGRES: &str = "cast(extract(epoch from clock_timestamp()) * 1000 as bigint)";

/// Fills `{now_ms}`, `{for_update}`, `{for_share}`, `{skip_locked}` and `{in}(…){/in}` for the engine of
/// `tx`.
///
/// The last one is `in (…)` of a query that gives a few ids. Put in that way, PostgreSQL may go through
/// another index, of every row that the other conditions let through, and look for each among the ids;
/// as an array the ids are what it begins with.
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
            .replace("{skip_locked}", "")
            .replace("{in}(", "in (")
            .replace("{/in}", ""),
        Conn::Postgres(_) => text
            .replace("{now_ms}", NOW_MS_POSTGRES)
            .replace("{for_update}", "for no key update")
            .replace("{for_share}", "for share")
            .replace("{skip_locked}", "for no key update skip locked")
            .replace("{in}(", "= any(array(")
            .replace("{/in}", ")"),
    }
}

/// The text of a statement of PostgreSQL's alone, with `{now_ms}` and `{rows}(…) as name (…)` filled.
///
/// The last one stands for rows whose columns are arrays, each given as a parameter with its type:
/// `{rows}($1::uuid[], $2::text[]) as v (id, state)`.
pub(crate) fn postgres(text: &str) -> String {
    let mut pieces = text.split("{rows}(");
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (holes, rest) = piece.split_once(')').unwrap_or((piece, ""));
        let (name, rest) = rest.split_once('(').unwrap_or((rest, ""));
        let (columns, rest) = rest.split_once(')').unwrap_or((rest, ""));
        let list =
            |text: &str| text.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>();
        let (holes, columns) = (list(holes), list(columns));
        debug_assert_eq!(holes.len(), columns.len(), "a name for each column:{name}");
        // Writing to a string does not fail.
        let _ = write!(filled, "({}){}", by_place(&holes, &columns), name.trim_end());
        filled.push_str(rest);
    }
    filled.replace("{now_ms}", NOW_MS_POSTGRES)
}

/// A query of rows whose columns are the arrays `holes`. The first of them is gone through, and the
/// others are asked for what they have in the same place.
///
/// `unnest` of all of them would put every column into a store of its own and take it out again,
/// which for few rows of many columns costs nine times as much (26 columns: 88 µs against 10 for ten
/// rows, 152 against 18 for 32). An array of texts is counted through from its beginning for every
/// one of them, so this is not for many rows ([`crate::rows::FEW`]).
pub(crate) fn by_place(holes: &[String], columns: &[String]) -> String {
    let mut values = String::new();
    for (at, hole) in holes.iter().enumerate() {
        if at == 0 {
            values.push_str("r.v");
        } else {
            let _ = write!(values, ", ({hole})[r.i::integer]");
        }
        if let Some(name) = columns.get(at) {
            let _ = write!(values, " as {name}");
        }
    }
    let first = holes.first().map_or("", String::as_str);
    format!("select {values} from unnest({first}) with ordinality as r (v, i)")
}

/// Fills `{lazily}`, which stands before the first of a statement's `with` queries, and `{looked}`, which
/// follows a condition: the unit of work in which it stands is not waited for until it is on disk;
/// only there `when`, which is empty or ` where $n`. SQLite knows no such difference.
pub(crate) fn lazily(
    AssertSqlSafe(text): AssertSqlSafe<String>,
    postgres: bool,
    when: &str,
) -> AssertSqlSafe<String> {
    let (lazily, looked) = if postgres {
        let set = "select set_config('synchronous_commit', 'off', true)";
        (
            format!("lazily as materialized ({set}{when}), "),
            " and (select count(*) from lazily) >= 0",
        )
    } else {
        (String::new(), "")
    };
    AssertSqlSafe(text.replace("{lazily}", &lazily).replace("{looked}", looked))
}

/// Keeps those conditions of a list's text that are asked for. In the text they stand in braces,
/// `{project = $3}`; `asked` says of each whether it counts. One that does not is left out, so that
/// the plan of a statement fits what is asked, and its parameter is still there.
pub(crate) fn only(text: &'static str, asked: &[(&'static str, bool)]) -> AssertSqlSafe<String> {
    let mut text = text.to_owned();
    for (condition, counts) in asked {
        let hole = condition.find('$').map_or("null", |at| {
            let digits = condition[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
            &condition[at..=at + digits]
        });
        let instead = if *counts {
            (*condition).to_owned()
        } else {
            format!("(cast({hole} as text) is null or true)")
        };
        text = text.replace(&format!("{{{condition}}}"), &instead);
    }
    AssertSqlSafe(text)
}

/// Keeps a list to what its reader may see: `{within project $4}` in the text holds where the column
/// is one of the projects of `reach`, which are bound as [`reached`] gives them. To whom everything is
/// shown the condition is left out.
pub(crate) fn within(
    tx: &mut Tx,
    AssertSqlSafe(text): AssertSqlSafe<String>,
    reach: &Reach,
) -> AssertSqlSafe<String> {
    let condition = match (reach, tx.conn()) {
        (Reach::Everywhere, _) => "(cast(# as text) is null or true)",
        // Most people are in one project, whose rows an index has in order.
        (Reach::Projects(names), _) if names.len() == 1 => "@ = #",
        (_, Conn::Sqlite(_)) => "@ in (select value from json_each(#))",
        (_, Conn::Postgres(_)) => {
            "@ = any(array(select jsonb_array_elements_text(cast(# as jsonb))))"
        }
    };
    AssertSqlSafe(confined(&text, condition))
}

fn confined(text: &str, condition: &str) -> String {
    let mut pieces = text.split("{within ");
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (mark, rest) = piece.split_once('}').unwrap_or((piece, ""));
        let (column, hole) = mark.split_once(' ').unwrap_or((mark, ""));
        filled.push_str(&condition.replace('@', column).replace('#', hole));
        filled.push_str(rest);
    }
    filled
}

/// The value that goes with [`within`].
pub(crate) fn reached(reach: &Reach) -> Option<String> {
    match reach {
        Reach::Everywhere => None,
        Reach::Projects(names) if names.len() == 1 => names.first().cloned(),
        Reach::Projects(names) => Some(serde_json::json!(names).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_that_are_not_asked_for_are_left_out() {
        let text = "select 1 where {a = $1} and {b < $2} limit $3";
        let kept = only(text, &[("a = $1", true), ("b < $2", false)]);
        assert_eq!(kept.0, "select 1 where a = $1 and (cast($2 as text) is null or true) limit $3");
        let kept = only("where {f(a, $1) = $1}", &[("f(a, $1) = $1", false)]);
        assert_eq!(kept.0, "where (cast($1 as text) is null or true)");
    }

    #[test]
    fn rows_are_made_of_columns_place_by_place() {
        let text = "select 1 from {rows}($1::uuid[], $2::text[],
                 $3::bigint[])
             as v (id, name,
                 n) join {rows}($4::text[]) as w (x) on {now_ms} > 0";
        assert_eq!(
            postgres(text),
            format!(
                "select 1 from (select r.v as id, ($2::text[])[r.i::integer] as name, \
                 ($3::bigint[])[r.i::integer] as n from unnest($1::uuid[]) with ordinality as r \
                 (v, i))\n             as v join (select r.v as x from unnest($4::text[]) with \
                 ordinality as r (v, i)) as w on {NOW_MS_POSTGRES} > 0"
            )
        );
    }

    #[test]
    fn a_list_is_confined_in_each_of_its_parts() {
        let text = "select 1 where {within s.project $2} or {within name $2} limit $1";
        assert_eq!(
            confined(text, "@ in (#)"),
            "select 1 where s.project in ($2) or name in ($2) limit $1"
        );
    }
}
