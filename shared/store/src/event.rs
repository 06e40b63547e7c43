//! Events: a list a deployment, numbered without holes.

use chrono::{DateTime, Utc};
use slipway_domain::event::{Event, EventBody};
use slipway_domain::id::DeploymentId;

use crate::db::{Conn, Tx, sql};
use crate::error::{Error, Result};

#[derive(sqlx::FromRow)]
struct Row {
    seq: i64,
    body: String,
    at: DateTime<Utc>,
}

impl Tx {
    /// Appends events in order. The number comes from the deployment's row, whose lock orders
    /// concurrent writers; so numbers have no holes and become visible in order.
    pub async fn append_events(
        &mut self,
        of: DeploymentId,
        bodies: &[EventBody],
        at: DateTime<Utc>,
    ) -> Result<()> {
        if bodies.is_empty() {
            return Ok(());
        }
        let count = i64::try_from(bodies.len()).unwrap_or(i64::MAX);
        let last: i64 = sql!(scalar i64, self,
            "update deployments set event_seq = event_seq + $2 where id = $1 returning event_seq",
            of, count)?;
        let rows = bodies
            .iter()
            .zip(last - count + 1..)
            .map(|(body, seq)| {
                let text = serde_json::to_string(body).map_err(|e| Error::corrupt("events", e))?;
                Ok((seq, body.kind(), text))
            })
            .collect::<Result<Vec<_>>>()?;
        macro_rules! insert {
            ($conn:expr) => {{
                // Well under the 32 766 parameters that SQLite allows.
                for chunk in rows.chunks(500) {
                    let mut query = sqlx::QueryBuilder::new(
                        "insert into events (deployment_id, seq, kind, body, at) ",
                    );
                    query.push_values(chunk, |mut row, (seq, kind, body)| {
                        row.push_bind(of)
                            .push_bind(*seq)
                            .push_bind(*kind)
                            .push_bind(body.as_str())
                            .push_bind(at);
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

    /// Up to `limit` events with numbers above `after`, in order.
    pub async fn events(&mut self, of: DeploymentId, after: i64, limit: i64) -> Result<Vec<Event>> {
        sql!(all Row, self,
            "select seq, body, at from events where deployment_id = $1 and seq > $2
             order by seq limit $3", of, after, limit)?
        .into_iter()
        .map(|row| {
            Ok(Event {
                seq: row.seq,
                deployment_id: of,
                at: row.at,
                body: serde_json::from_str(&row.body).map_err(|e| Error::corrupt("events", e))?,
            })
        })
        .collect()
    }
}
