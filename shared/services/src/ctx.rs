//! What every verb needs of the house.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use slipway_domain::clock::Clock;
use slipway_domain::drift::schedule::Schedule;
use slipway_domain::fault::Fault;
use slipway_domain::gate_settings::GateSettings;
use slipway_domain::id::{DeploymentId, Mint};
use slipway_domain::job::{Doorbell, JobKind, JobLimits};
use slipway_domain::port::driver::Inspect;
use slipway_domain::tree::Limits;
use slipway_queue::{SharedTransport, Signal};
use slipway_store::{Store, Tx};
use tokio::time::Instant;

use crate::audit::Denials;
use crate::auth::{Auth, AuthSettings};
use crate::gather::Gather;
use crate::intake::Intake;
use crate::library::Library;
use crate::look::{Line, Looks};
use crate::policy::Policies;
use crate::price::Prices;
use crate::setting;
use crate::source::Trees;
use crate::stack;
use crate::taking::Starts;
use crate::unchanged::Ends;

/// A commit that takes longer is rung for once more: who heard of it before may have stopped looking.
const LATE: Duration = Duration::from_millis(20);

/// The house. Cheap to clone.
#[derive(Clone)]
pub struct Ctx {
    /// Rows and blobs.
    pub store: Store,
    /// The doorbell.
    pub transport: SharedTransport,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub mint: Arc<dyn Mint>,
    /// Reads configurations without their tool.
    pub inspector: Arc<dyn Inspect>,
    /// The template library.
    pub templates: Arc<Library>,
    /// What the operator chose.
    pub settings: Arc<Settings>,
    /// What is done together.
    pub gathered: Arc<Gathered>,
}

/// What the calls of one process share: where those that come at the same time meet, so that one
/// unit of work does for all of them, and what was read a moment ago.
#[derive(Debug, Default)]
pub struct Gathered {
    pub(crate) intake: Gather<Intake>,
    pub(crate) looks: Gather<Looks>,
    pub(crate) line: Line,
    pub(crate) trees: Trees,
    pub(crate) starts: Gather<Starts>,
    pub(crate) unchanged: Gather<Ends>,
    pub(crate) policies: Policies,
    pub(crate) prices: Prices,
    pub(crate) auth: Auth,
    pub(crate) settings: setting::Cache,
    pub(crate) stacks: stack::Known,
    pub(crate) denials: Denials,
}

/// What the operator chose, as far as verbs need it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What an uploaded or read source may hold.
    pub source_limits: Limits,
    /// The root under which directory sources are allowed; `None` refuses them.
    pub directory_root: Option<PathBuf>,
    /// Whether `file://` repositories are allowed.
    pub git_allow_file: bool,
    /// Whether `http://` repositories are allowed.
    pub git_allow_http: bool,
    /// What the gates look for where nothing else was said.
    pub gates: GateSettings,
    /// Limits of plan jobs.
    pub plan_limits: JobLimits,
    /// Limits of apply jobs.
    pub apply_limits: JobLimits,
    /// Limits of test jobs: what tests ask for is cut to them.
    pub test_limits: JobLimits,
    /// How stacks are checked for drift where nothing else was said.
    pub drift: Schedule,
    /// Whether a stack whose runs take long gets more time before it is asked to stop.
    pub adaptive_limits: bool,
    /// How long the recovery of a lost apply waits for what its worker left on its machine. After
    /// that the machine counts as gone.
    pub recovery_grace: chrono::Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_ttl: chrono::Duration,
    /// How long the log of an ended deployment is kept.
    pub log_retention: chrono::Duration,
    /// How people and machines sign in.
    pub auth: AuthSettings,
}

impl Settings {
    /// Limits of jobs of this kind.
    pub fn job_limits(&self, kind: JobKind) -> JobLimits {
        match kind {
            // They plan, too.
            JobKind::Plan | JobKind::Recover | JobKind::Drift => self.plan_limits,
            JobKind::Apply => self.apply_limits,
            JobKind::Test => self.test_limits,
        }
    }
}

impl Ctx {
    /// The present moment.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Rings for a job that has just been committed. A failure costs latency only: the relay
    /// rings again.
    pub(crate) async fn ring(&self, bell: &Doorbell) {
        if let Err(error) = self.transport.ring(bell).await {
            tracing::warn!(job_id = %bell.job_id, queue = %bell.queue, %error,
                "the doorbell did not ring; the relay will ring again");
        }
    }

    /// Commits a unit of work that adds jobs, and rings for them.
    ///
    /// Where a bell names its job it goes out just before: it is on its way while the database
    /// writes, and who hears it too early looks again for a moment ([`crate::taking::expected`]). A
    /// commit that takes longer than that moment is rung for once more.
    pub(crate) async fn commit_with_jobs(&self, tx: Tx, added: &[Doorbell]) -> Result<(), Fault> {
        let early = self.transport.names_the_job();
        if early {
            self.ring_all(added).await;
        }
        let asked = Instant::now();
        tx.commit().await?;
        if !early || asked.elapsed() > LATE {
            self.ring_all(added).await;
        }
        Ok(())
    }

    /// Does a unit of work that is one statement and adds jobs, and rings for them, like
    /// [`Ctx::commit_with_jobs`]. Some of them may turn out not to be added.
    pub(crate) async fn ringing<T>(
        &self,
        added: &[Doorbell],
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let early = self.transport.names_the_job();
        let asked = Instant::now();
        let done = if early {
            // The statement goes first: it has the longer way.
            let (done, ()) = tokio::join!(work, self.ring_all(added));
            done?
        } else {
            work.await?
        };
        if !early || asked.elapsed() > LATE {
            self.ring_all(added).await;
        }
        Ok(done)
    }

    /// Rings for jobs that came together: once a queue, and who hears it has the others rung for
    /// that it cannot take. A bell for each would wake a worker for each, most of them for nothing.
    pub(crate) async fn ring_all(&self, bells: &[Doorbell]) {
        for bell in Doorbell::together(bells) {
            self.ring(&bell).await;
        }
    }

    /// Tells every process that something of a deployment is new.
    pub(crate) async fn tell(&self, of: DeploymentId) {
        self.signal(Signal::Changed(of)).await;
    }

    pub(crate) async fn signal(&self, signal: Signal) {
        if let Err(error) = self.transport.publish(signal).await {
            tracing::warn!(?signal, %error, "a signal was not sent; readers will see it later");
        }
    }
}
