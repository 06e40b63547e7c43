//! Events: a list a deployment, numbered without holes.

use chrono::{DateTime, Utc};
use slipway_domain::event::{Event, EventBody};
use slipway_domain::id::DeploymentId;

use crate::db::{Tx, sql};
use crate::error::{Error, Result};
use crate::rows::insert_rows;

#[derive(sqlx::FromRow)]
struct Row {
    seq: i64,
    body: String,
    at: DateTime<Utc>,
}

/// An event with its number.
pub(crate) struct NewEvent<'a> {
    of: DeploymentId,
    seq: i64,
    body: &'a EventBody,
    at: DateTime<Utc>,
}

/// By how much events move the counter of their deployment.
pub(crate) fn count(bodies: &[EventBody]) -> i64 {
    i64::try_from(bodies.len()).unwrap_or(i64::MAX)
}

/// Numbers events so that the last one has the number `last`.
pub(crate) fn numbered(
    of: DeploymentId,
    bodies: &[EventBody],
    last: i64,
    at: DateTime<Utc>,
) -> Vec<NewEvent<'_>> {
    bodies
        .iter()
        .zip(last - count(bodies) + 1..)
        .map(|(body, seq)| NewEvent { of, seq, body, at })
        .collect()
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
        let last: i64 = sql!(scalar i64, self,
            "update deployments set event_seq = event_seq + $2 where id = $1 returning event_seq",
            of, count(bodies))?;
        self.insert_events(numbered(of, bodies, last, at).as_slice()).await
    }

    /// Writes events whose numbers were taken from their deployments' rows.
    pub(crate) async fn insert_events(&mut self, events: &[NewEvent<'_>]) -> Result<()> {
        let rows = events
            .iter()
            .map(|event| {
                let text =
                    serde_json::to_string(event.body).map_err(|e| Error::corrupt("events", e))?;
                Ok((event, text))
            })
            .collect::<Result<Vec<_>>>()?;
        insert_rows!(self, "events (deployment_id, seq, kind, body, at)", "", rows.as_slice(), |row|
            "uuid": row.0.of.0, "bigint": row.0.seq, "text": row.0.body.kind(),
            "text": row.1.as_str(), "timestamptz": row.0.at);
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
