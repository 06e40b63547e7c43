//! Jobs: units of queued work. The rows are the queue; a broker only says "look".

use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{DeploymentId, JobId, StackId, WorkerId};

macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
        // Not `rename = $text`: the schema's derive does not read a name that comes from a macro.
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The text form in the API, in the database and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// Reads the text form.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            /// Says what is known when it is none of them.
            fn from_str(text: &str) -> Result<Self, String> {
                Self::parse(text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|one| one.as_str()).collect();
                    let given: String = text.chars().take(80).collect();
                    format!("{given:?} is none of {}", known.join(", "))
                })
            }
        }
    };
}

text_enum! {
    /// A named pool of work. Operators run and scale workers per queue.
    Queue {
        /// Makes plans.
        Plan = "plan",
        /// Applies approved plans.
        Apply = "apply",
        /// Runs tests of configurations.
        Test = "test",
    }
}

text_enum! {
    /// What a job does.
    JobKind {
        /// Make a deployment's plan.
        Plan = "plan",
        /// Apply a deployment's approved plan.
        Apply = "apply",
        /// Find out what a lost apply did, and plan what is left of it.
        Recover = "recover",
        /// Run the tests of a deployment's configuration.
        Test = "test",
        /// Look whether a stack is still what its state says.
        Drift = "drift",
    }
}

impl JobKind {
    /// The queue that jobs of this kind go to.
    pub const fn queue(self) -> Queue {
        match self {
            // A check for drift is a plan that nobody applies.
            Self::Plan | Self::Drift => Queue::Plan,
            // What recovers a stack is what may go on to change it.
            Self::Apply | Self::Recover => Queue::Apply,
            Self::Test => Queue::Test,
        }
    }

    /// The version of what a job of this kind means. A worker leaves jobs of a later one, and of
    /// kinds it does not know, to those who know them.
    pub const fn version(self) -> i32 {
        match self {
            Self::Plan | Self::Apply | Self::Recover | Self::Test | Self::Drift => 1,
        }
    }

    /// Whether a job whose worker was lost may simply run again. A lost apply may have had
    /// effects: it goes to recovery, never to attempt 2. (Lost tests that may make real things do
    /// not run again either; their settings say so.)
    pub const fn may_repeat(self) -> bool {
        match self {
            Self::Plan | Self::Recover | Self::Test | Self::Drift => true,
            Self::Apply => false,
        }
    }

    /// Whether a job of this kind is beside its deployment's way: it neither moves it nor is waited
    /// for by it, and ends otherwise than those that do.
    pub const fn is_beside(self) -> bool {
        matches!(self, Self::Test | Self::Drift)
    }

    /// Whether only one job of this kind, or of the others of which that is true, may run for a
    /// stack at a time.
    pub const fn holds_stack(self) -> bool {
        matches!(self, Self::Apply | Self::Recover)
    }
}

text_enum! {
    /// Where a job is.
    JobState {
        /// Waits for its time and a worker.
        Queued = "queued",
        /// A worker holds its lease.
        Running = "running",
        /// Done.
        Succeeded = "succeeded",
        /// Ended with an error that a repetition would not mend.
        Failed = "failed",
        /// Stopped on request.
        Cancelled = "cancelled",
        /// Attempts used up; waits for an operator to requeue or purge it.
        Dead = "dead",
        /// Its worker disappeared while it may have had effects.
        Lost = "lost",
    }
}

impl JobState {
    /// Whether it will run (again) by itself.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// The right to run a job: who holds it, and the number that grows each time it is given out.
/// Every write of a worker names the epoch and is refused when it is not the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The job.
    pub job_id: JobId,
    /// The worker process.
    pub worker_id: WorkerId,
    /// The number of this holding.
    pub epoch: i64,
}

/// A job's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Which pool runs it.
    pub queue: Queue,
    /// Where it is.
    pub state: JobState,
    /// The deployment it is for.
    pub deployment_id: DeploymentId,
    /// The stack it is for.
    pub stack_id: StackId,
    /// Runs so far, the present one included.
    pub attempt: i32,
    /// Runs at most.
    pub max_attempts: i32,
    /// Not before this moment.
    pub run_at: DateTime<Utc>,
    /// Only one job with this key runs at a time.
    pub concurrency_key: Option<String>,
    /// The current or last epoch.
    pub epoch: i64,
    /// Whether somebody asked to stop it.
    pub cancel_requested: bool,
    /// After this long it is asked to stop, in seconds.
    pub soft_limit_s: i32,
    /// After this long it is killed, in seconds.
    pub hard_limit_s: i32,
    /// The submitter's trace context (W3C `traceparent`).
    pub traceparent: Option<String>,
    /// Why the last attempt ended badly.
    pub last_error: Option<String>,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When the current attempt began.
    pub started_at: Option<DateTime<Utc>>,
}

/// A new job, before it has a row.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// The deployment it is for.
    pub deployment_id: DeploymentId,
    /// The stack it is for.
    pub stack_id: StackId,
    /// The project, for fair order.
    pub project: String,
    /// What goes before what, whatever its age.
    pub priority: Priority,
    /// Two jobs with one key are one job: the second is not enqueued.
    pub idempotency_key: String,
    /// Not before this many seconds from now (database time).
    pub delay_s: u32,
    /// Only one job with this key runs at a time.
    pub concurrency_key: Option<String>,
    /// The submitter's trace context (W3C `traceparent`).
    pub traceparent: Option<String>,
    /// Limits.
    pub limits: JobLimits,
}

text_enum! {
    /// What goes before what in a queue.
    #[derive(Default)]
    Priority {
        /// When nothing else waits.
        Low = "low",
        /// In turn.
        #[default]
        Normal = "normal",
        /// Before everything else.
        High = "high",
    }
}

impl Priority {
    /// As a number that sorts.
    pub const fn rank(self) -> i32 {
        match self {
            Self::Low => -10,
            Self::Normal => 0,
            Self::High => 10,
        }
    }
}

/// A job as operators see it. Its kind and queue are texts, because a newer version of Slipway may
/// have put it there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct JobInfo {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: String,
    /// Which pool runs it.
    pub queue: String,
    /// Where it is.
    pub state: JobState,
    /// The deployment it is for.
    pub deployment_id: DeploymentId,
    /// The stack it is for.
    pub stack_id: StackId,
    /// The project of that stack.
    pub project: String,
    /// Runs so far, the present one included.
    pub attempt: i32,
    /// Runs at most.
    pub max_attempts: i32,
    /// Not before this moment.
    pub run_at: DateTime<Utc>,
    /// Only one job with this key runs at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// The worker that holds it, or was the last to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<WorkerId>,
    /// How often it was given out.
    pub epoch: i64,
    /// When its lease ends unless a heartbeat extends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<DateTime<Utc>>,
    /// Whether somebody asked to stop it.
    pub cancel_requested: bool,
    /// After this long it is asked to stop, in seconds.
    pub soft_limit_s: i32,
    /// After this long it is killed, in seconds.
    pub hard_limit_s: i32,
    /// Why the last attempt ended badly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When the current or last attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// How often and how long a job may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLimits {
    /// Runs at most.
    pub max_attempts: i32,
    /// After this long it is asked to stop, in seconds.
    pub soft_limit_s: i32,
    /// After this long it is killed, in seconds.
    pub hard_limit_s: i32,
}

/// What a transport carries: "look at this queue, there is this job". Nothing in it is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doorbell {
    /// The job.
    pub job_id: JobId,
    /// Its queue.
    pub queue: Queue,
    /// Jobs of the queue beside this one that it rings for as well: who hears it and cannot take
    /// them all rings for the rest.
    #[serde(default, skip_serializing_if = "is_none")]
    pub others: u32,
    /// Trace context of the request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_none(others: &u32) -> bool {
    *others == 0
}

impl Doorbell {
    /// Rings for one job.
    pub fn new(job_id: JobId, queue: Queue, traceparent: Option<String>) -> Self {
        Self { job_id, queue, others: 0, traceparent }
    }

    /// Rings for a job that goes back to its queue.
    pub fn of(job: &Job) -> Self {
        Self::new(job.id, job.queue, job.traceparent.clone())
    }

    /// Rings for the same jobs, once a queue.
    pub fn together(bells: &[Self]) -> Vec<Self> {
        let mut together: Vec<Self> = Vec::new();
        for bell in bells {
            if let Some(first) = together.iter_mut().find(|first| first.queue == bell.queue) {
                first.others = first.others.saturating_add(bell.others.saturating_add(1));
            } else {
                together.push(bell.clone());
            }
        }
        together
    }
}

/// How a run of a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The work is done, whatever its result was; the deployment says which.
    Done,
    /// The work failed for good.
    Fail {
        /// Why.
        error: String,
    },
    /// A passing fault: again after a while.
    Retry {
        /// Why.
        error: String,
        /// Not before this many seconds; back-off decides when absent.
        after_s: Option<u64>,
    },
    /// Handed back untouched, because the worker is shutting down.
    HandBack,
    /// Stopped on request.
    Cancelled,
    /// The lease is gone; nothing may be written.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;
    use utoipa::PartialSchema;

    fn check<T>(all: &[T], text: fn(T) -> &'static str)
    where
        T: Copy + Serialize + PartialSchema,
    {
        let schema = serde_json::to_value(T::schema()).unwrap();
        let texts: Vec<_> = all.iter().map(|one| text(*one)).collect();
        assert_eq!(schema["enum"], serde_json::json!(texts), "what is documented");
        assert_eq!(serde_json::to_value(all).unwrap(), serde_json::json!(texts), "what is sent");
    }

    #[test]
    fn words_are_the_same_in_code_on_the_wire_and_in_the_docs() {
        check(Queue::ALL, Queue::as_str);
        check(JobKind::ALL, JobKind::as_str);
        check(JobState::ALL, JobState::as_str);
        check(Priority::ALL, Priority::as_str);
    }

    #[test]
    fn bells_that_ring_together_are_one_a_queue_and_count_the_others() {
        use crate::id::RandomMint;
        let bell = |queue| Doorbell::new(JobId::new(&RandomMint), queue, None);
        let (plan, apply) = (bell(Queue::Plan), bell(Queue::Apply));
        let together = Doorbell::together(&[plan.clone(), apply.clone(), bell(Queue::Plan)]);
        assert_eq!(together, [Doorbell { others: 1, ..plan.clone() }, apply.clone()]);
        let again = Doorbell::together(&[together[0].clone(), bell(Queue::Plan)]);
        assert_eq!(again, [Doorbell { others: 2, ..plan }]);
        // As it has always looked; and one that says nothing of others is for one job.
        let sent = serde_json::to_value(&apply).unwrap();
        assert_eq!(sent, serde_json::json!({ "job_id": apply.job_id, "queue": "apply" }));
        assert_eq!(serde_json::from_value::<Doorbell>(sent).unwrap(), apply);
    }
}
