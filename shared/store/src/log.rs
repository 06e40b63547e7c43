//! Log lines: a list a deployment, numbered without holes.

use chrono::{DateTime, Utc};
use slipway_domain::id::DeploymentId;
use slipway_domain::log::{LogLine, LogStream, NewLogLine};

use crate::db::{Conn, Tx, sql};
use crate::error::Result;

#[derive(sqlx::FromRow)]
struct Row {
    seq: i64,
    stream: String,
    step: String,
    text: String,
    at: DateTime<Utc>,
}

impl Tx {
    /// Appends lines in order; numbered like events.
    pub async fn append_log(&mut self, of: DeploymentId, lines: &[NewLogLine]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let count = i64::try_from(lines.len()).unwrap_or(i64::MAX);
        let last: i64 = sql!(scalar i64, self,
            "update deployments set log_seq = log_seq + $2 where id = $1 returning log_seq",
            of, count)?;
        let mut seq = last - count;
        macro_rules! insert {
            ($conn:expr) => {{
                for chunk in lines.chunks(500) {
                    let mut query = sqlx::QueryBuilder::new(
                        "insert into log_lines (deployment_id, seq, stream, step, text, at) ",
                    );
                    query.push_values(chunk, |mut row, line| {
                        seq += 1;
                        row.push_bind(of)
                            .push_bind(seq)
                            .push_bind(line.stream.as_str())
                            .push_bind(line.step.as_str())
                            // PostgreSQL text cannot hold NUL.
                            .push_bind(line.text.replace('\0', "\u{fffd}"))
                            .push_bind(line.at);
                    });
                    query.build().execute(&mut *$conn).await?;
                }
            }};
        }
        match self.conn() {
            Conn::Sqlite(conn) => insert!(conn),
            Conn::Postgres(conn) => insert!(conn),
        }
        Ok(())
    }

    /// Up to `limit` lines with numbers above `after`, in order.
    pub async fn log_lines(
        &mut self,
        of: DeploymentId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<LogLine>> {
        let rows = sql!(all Row, self,
            "select seq, stream, step, text, at from log_lines
             where deployment_id = $1 and seq > $2 order by seq limit $3", of, after, limit)?;
        Ok(rows
            .into_iter()
            .map(|row| LogLine {
                seq: row.seq,
                at: row.at,
                stream: LogStream::parse(&row.stream),
                step: row.step,
                text: row.text,
            })
            .collect())
    }

    /// The number of the last line; 0 when there is none.
    pub async fn last_log_seq(&mut self, of: DeploymentId) -> Result<i64> {
        let seq = sql!(scalar_maybe i64, self,
            "select log_seq from deployments where id = $1", of)?;
        Ok(seq.unwrap_or_default())
    }
}
