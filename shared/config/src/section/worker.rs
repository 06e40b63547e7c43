//! `[worker]`: how a worker process works.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::job;

use crate::problem::Problem;
use crate::validate::check_loopback;

/// How a worker process works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Queues that this worker serves, and how many jobs of each at a time, e.g.
    /// `{ plan = 4, apply = 2, test = 1 }`; in a variable `plan=4,apply=2,test=1`. A queue that is not named is
    /// not served.
    #[schemars(with = "BTreeMap<String, u16>", extend("x-kind" = "slots"))]
    pub queues: BTreeMap<job::Queue, u16>,
    /// How long the right to run a job lasts without a heartbeat, in seconds.
    #[schemars(range(min = 3, max = 3600))]
    pub lease_s: u64,
    /// How often leases are extended, in seconds; at most a third of `lease_s`.
    #[schemars(range(min = 1, max = 1200))]
    pub heartbeat_s: u64,
    /// How long running jobs may go on after a shutdown was asked for, in seconds.
    #[schemars(range(min = 0, max = 86_400))]
    pub drain_grace_s: u64,
    /// How long the recovery of a lost apply waits for the machine on which its worker was, to
    /// collect what was left there, in seconds. After that the machine counts as gone, and a person
    /// is asked about whatever may have been begun in the last moment.
    #[schemars(range(min = 0, max = 86_400))]
    pub recovery_grace_s: u32,
    /// How often the database is asked for due jobs even when nothing rings, in seconds.
    #[schemars(range(min = 1, max = 300))]
    pub poll_s: u64,
    /// IP address and port on which a process that only works tells how it is (`/livez`,
    /// `/readyz`, `/health`, `/metrics`); nowhere when absent. Only loopback addresses are allowed
    /// for now.
    #[schemars(with = "Option<String>", extend("x-kind" = "address"))]
    pub listen: Option<SocketAddr>,
    /// Directory in which running jobs work, with plans, states and variables in clear; `work` in the
    /// data directory when nothing is said. `auto`: in memory (`/dev/shm`), where that is a tmpfs with
    /// 1 GiB free; what is left of a run that was cut off is then lost when the machine restarts.
    pub workspace: Option<String>,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            queues: BTreeMap::from([
                (job::Queue::Plan, 4),
                (job::Queue::Apply, 2),
                (job::Queue::Test, 2),
            ]),
            lease_s: 30,
            heartbeat_s: 10,
            drain_grace_s: 60,
            recovery_grace_s: 60,
            poll_s: 5,
            listen: None,
            workspace: None,
        }
    }
}

impl Worker {
    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        if let Some(listen) = self.listen {
            problems.extend(check_loopback("worker.listen", listen));
        }
        if self.workspace.as_deref().is_some_and(|dir| dir != "auto" && !dir.starts_with('/')) {
            let what = "write \"auto\" or an absolute path".to_owned();
            problems.push(Problem::at("worker.workspace", what));
        }
        if self.queues.is_empty() {
            problems.push(Problem::at("worker.queues", "a worker must serve at least one queue"));
        }
        for (queue, slots) in &self.queues {
            if !(1..=256).contains(slots) {
                problems.push(Problem::at(
                    "worker.queues",
                    format!(
                        "{queue}={slots}: a queue has 1 to 256 slots; leave it out to not serve it"
                    ),
                ));
            }
        }
        if self.heartbeat_s.saturating_mul(3) > self.lease_s {
            problems.push(
                Problem::at(
                    "worker.heartbeat_s",
                    format!(
                        "three heartbeats must fit into one lease, or a short hiccup loses it: 3 × {} s is more than lease_s = {} s",
                        self.heartbeat_s, self.lease_s
                    ),
                )
                .with("worker.lease_s"),
            );
        }
    }
}
