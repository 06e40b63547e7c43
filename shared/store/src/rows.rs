//! Many rows in one statement: what is written together costs one round trip.

/// So many rows are few ([`crate::dialect::by_place`]).
pub(crate) const FEW: usize = 100;

/// The query of `count` rows whose columns are the arrays `holes` of a statement of PostgreSQL.
pub(crate) fn values(count: usize, holes: &[String]) -> String {
    if count <= FEW {
        crate::dialect::by_place(holes, &[])
    } else {
        format!("select * from unnest({})", holes.join(", "))
    }
}

/// Inserts `rows` (a slice) with one statement, on whichever engine the unit of work is on; gives
/// the number of rows that were written.
///
/// `insert_rows!(tx, "table (a, b)", "on conflict …", rows, |row| "text": row.a, "bigint": row.b)`
///
/// A value after a `;` is bound at the very end, behind the last words of the statement.
///
/// The words before the values are PostgreSQL's names of the columns' types. There the values go as
/// one array a column, so that the statement's text does not depend on the number of rows (but for one
/// of few and one of many) and is prepared once; SQLite gets lists of values, within the number of
/// parameters that it takes.
macro_rules! insert_rows {
    ($tx:expr, $into:literal, $after:literal, $rows:expr,
     |$row:ident| $($kind:literal: $value:expr),+ $(; $last:expr)? $(,)?) => {{
        let rows = $rows;
        let kinds = [$($kind),+];
        match ($tx).conn() {
            _ if rows.is_empty() => 0,
            $crate::db::Conn::Sqlite(conn) => {
                let mut written = 0;
                // Well under the 32 766 parameters that SQLite allows.
                for chunk in rows.chunks(30_000 / kinds.len()) {
                    let mut query = sqlx::QueryBuilder::<sqlx::Sqlite>::new(
                        concat!("insert into ", $into, " "),
                    );
                    query.push_values(chunk, |mut values, $row| {
                        $(values.push_bind($value);)+
                    });
                    query.push(concat!(" ", $after));
                    $(query.push_bind($last);)?
                    written += query.build().execute(&mut *conn).await?.rows_affected();
                }
                written
            }
            $crate::db::Conn::Postgres(conn) => {
                let holes: Vec<String> = (1..)
                    .zip(kinds)
                    .map(|(number, kind)| format!("${number}::{kind}[]"))
                    .collect();
                let values = $crate::rows::values(rows.len(), &holes);
                let text = format!(
                    concat!("insert into ", $into, " {} ", $after, "{}"),
                    values,
                    // The number of the last value, where there is one.
                    concat!("" $(, $crate::rows::hole!($last))?)
                        .replace('#', &(kinds.len() + 1).to_string())
                );
                let query = sqlx::query::<sqlx::Postgres>(sqlx::AssertSqlSafe(text));
                $(
                    let column = rows.iter().map(|$row| {
                        // Some values are the same in every row.
                        let _ = &$row;
                        $value
                    });
                    let query = query.bind(column.collect::<Vec<_>>());
                )+
                $(let query = query.bind($last);)?
                query.execute(conn).await?.rows_affected()
            }
        }
    }};
}
pub(crate) use insert_rows;

/// A place for a parameter whose number comes later.
macro_rules! hole {
    ($value:expr) => {
        "$#"
    };
}
pub(crate) use hole;
