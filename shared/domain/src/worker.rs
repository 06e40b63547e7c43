//! Worker processes as operators see them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{JobId, WorkerId};
use crate::job::Queue;

/// A worker process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Worker {
    /// Its id, new with every start.
    pub id: WorkerId,
    /// The host it runs on.
    pub host: String,
    /// Its process id there.
    pub pid: i64,
    /// Its version of Slipway.
    pub version: String,
    /// The queues it serves, and how many jobs of each at a time.
    #[schema(value_type = BTreeMap<String, u16>)]
    pub queues: BTreeMap<Queue, u16>,
    /// The jobs it holds now.
    pub jobs: Vec<JobId>,
    /// Whether it takes no more jobs and ends when these have ended.
    pub draining: bool,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it was last heard of, by the database's clock.
    pub last_heartbeat_at: DateTime<Utc>,
    /// For how long it has not been heard of, in seconds, by the database's clock.
    pub silent_s: f64,
}

/// Reads `plan=4,apply=2`; what is not understood (a queue of a newer version) is left out.
pub fn parse_slots(text: &str) -> BTreeMap<Queue, u16> {
    text.split(',')
        .filter_map(|part| {
            let (name, slots) = part.split_once('=')?;
            Some((Queue::parse(name.trim())?, slots.trim().parse().ok()?))
        })
        .collect()
}

/// Writes what [`parse_slots`] reads.
pub fn format_slots(slots: &BTreeMap<Queue, u16>) -> String {
    let parts: Vec<_> = slots.iter().map(|(queue, slots)| format!("{queue}={slots}")).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_go_there_and_back_and_unknown_queues_are_left_out() {
        let slots = BTreeMap::from([(Queue::Plan, 4), (Queue::Apply, 1)]);
        assert_eq!(parse_slots(&format_slots(&slots)), slots);
        assert_eq!(parse_slots("plan=4,later=9,apply=x"), BTreeMap::from([(Queue::Plan, 4)]));
        assert!(parse_slots("").is_empty());
    }
}
