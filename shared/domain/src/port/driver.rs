//! The driver port: how one kind of stack is inspected, planned and applied.
//!
//! A driver gets its input as values and reports through [`Run`]: log lines, events, state. It
//! knows neither the database nor the queue, and it can write nothing that is not fenced by the
//! lease of the job it runs for.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;

use crate::deployment::{Operation, Output, Variables};
use crate::drift::DriftFound;
use crate::event::EventBody;
use crate::fault::FieldError;
use crate::id::{DeploymentId, StackId};
use crate::log::NewLogLine;
use crate::plan::{Binding, Diagnostic, OutputChange, ResourceChange, StateMark, Tool, ToolChoice};
use crate::recovery::{JournalEntry, RecoveryReport, Resolution};
use crate::redact::Redactor;
use crate::run_history::Measure;
use crate::setting::SettingUse;
use crate::stack::{DriverKind, StackKey};
use crate::template::InputSpec;
use crate::test_report::{TestSettings, Tested};
use crate::tree::Tree;

/// How hard a run is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Finish what is in flight, record it, and end (Terraform: SIGINT).
    Gently,
    /// End now; the lease is about to be lost or the hard limit is reached (kill the group).
    Now,
}

/// When the lease of a run ends, as far as its worker knows: what a tool is told that has to end in
/// time even when its worker does not live to say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseEnd {
    /// From here on the tool is asked to finish what is in flight and to end.
    pub interrupt_at: Instant,
    /// From here on nothing of it may run: a little later the house gives the job up.
    pub kill_at: Instant,
}

/// What a running driver may use of the house. Implemented by the worker for one job.
#[async_trait]
pub trait Run: Send + Sync {
    /// The job's own empty directory, mode 0700. It is wiped when the job ends.
    fn workspace(&self) -> &Path;

    /// Takes known secrets out of text. Log lines and events that go through [`Run::log`] and
    /// [`Run::event`] are redacted by the house again.
    fn redactor(&self) -> Redactor;

    /// Tells the house of more secrets, which this run has come across: from here on they are taken
    /// out of everything that it says.
    fn hide(&self, secrets: Vec<String>);

    /// The trace that this run belongs to (W3C `traceparent`), for the tools it starts.
    fn traceparent(&self) -> Option<String> {
        None
    }

    /// Tells the house where the source lies while it is planned, and where in it the root module is
    /// (empty: at the top), for those who look at it beside the tool.
    fn source_laid(&self, _dir: &Path, _root: &str) {}

    /// Keeps a log line. Never blocks on the database: lines are buffered, bounded and flushed by
    /// the house; the driver must not wait for them.
    fn log(&self, line: NewLogLine);

    /// Publishes an event, in order, like [`Run::log`]. What a resource does is the journal of an
    /// apply: it is written as soon as it can be.
    fn event(&self, event: EventBody);

    /// Waits until every event that was published is safe. A state that records something comes
    /// after the journal that names it. Fails when the lease is gone.
    async fn events_kept(&self) -> Result<(), DriverError> {
        Ok(())
    }

    /// Keeps a new version of the stack's state, and returns only when it is safe. Refused when
    /// the lease is gone.
    async fn save_state(&self, state: StateBlob) -> Result<(), DriverError>;

    /// Tells the house what the tool took to make the plan, or to apply it, however it ended.
    fn measured(&self, _measure: Measure) {}

    /// Whether a stop is asked for, and how hard.
    fn stop(&self) -> Option<Stop>;

    /// Waits until a stop at least as hard as `at_least` is asked for.
    async fn stopped(&self, at_least: Stop) -> Stop;

    /// When the lease ends that this runs under; `None`: under none.
    fn lease_end(&self) -> Option<LeaseEnd> {
        None
    }

    /// Waits until [`Run::lease_end`] is another than `known`: a heartbeat got through.
    async fn lease_renewed(&self, _known: LeaseEnd) -> LeaseEnd {
        std::future::pending().await
    }
}

/// A version of a stack's state.
#[derive(Clone, PartialEq, Eq)]
pub struct StateBlob {
    /// Which version.
    pub mark: StateMark,
    /// How many resource instances it records.
    pub resource_count: i64,
    /// The bytes, as the tool wrote them. Contains secrets.
    pub content: Bytes,
}

impl fmt::Debug for StateBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateBlob({:?}, {} bytes)", self.mark, self.content.len())
    }
}

/// Where the configuration comes from, as far as the house could resolve it.
#[derive(Debug, Clone)]
pub enum SourceInput {
    /// The tree itself, checked.
    Tree(Tree),
    /// To be fetched by the driver's host.
    Git {
        /// Repository.
        url: String,
        /// Branch, tag or commit; the default branch when absent.
        reference: Option<String>,
        /// Root module's directory.
        path: Option<String>,
    },
}

/// What a plan is made of.
#[derive(Clone)]
pub struct PlanInput {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The stack.
    pub stack_id: StackId,
    /// What names the stack.
    pub stack: StackKey,
    /// What it is for.
    pub operation: Operation,
    /// The configuration.
    pub source: SourceInput,
    /// Directory of the root module inside a [`SourceInput::Tree`]; the top when absent.
    pub root: Option<String>,
    /// Input values, in clear.
    pub variables: Variables,
    /// The items of the central configuration that they were made with; for the house.
    pub settings: Vec<SettingUse>,
    /// The program that is asked for; the driver's own choice when absent.
    pub tool: Option<ToolChoice>,
    /// The stack's current state, if Slipway keeps one.
    pub state: Option<StateBlob>,
    /// A plan that was approved and turned stale: the new one is compared with it.
    pub approved: Option<Box<ApprovedPlan>>,
}

/// A plan that was approved. Nothing of it was applied.
#[derive(Clone)]
pub struct ApprovedPlan {
    /// What it is bound to.
    pub binding: Binding,
    /// Its file.
    pub plan_file: Bytes,
    /// What the driver packed with it.
    pub context: Bytes,
    /// What the variables of the new plan come to in a plan's binding.
    pub variables_digest: String,
    /// A key of the deployment's own, under which secret values are compared.
    pub key: [u8; 32],
}

impl fmt::Debug for ApprovedPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApprovedPlan({})", self.binding.digest())
    }
}

/// Whether a new plan does exactly what an approved one would have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Equality {
    /// It is proved: who approved the one has approved the other.
    Equal,
    /// It is not, and why: one line each, without secrets. Never empty.
    Different(Vec<String>),
}

impl fmt::Debug for PlanInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanInput")
            .field("deployment_id", &self.deployment_id)
            .field("stack", &self.stack)
            .field("operation", &self.operation)
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("state", &self.state)
            .field("approved", &self.approved)
            .finish_non_exhaustive()
    }
}

/// A plan as the driver made it. Sensitive values in `changes`, `outputs` and `drift` are already
/// masked; the artifacts are in clear and are sealed by the house.
#[derive(Clone)]
pub struct Planned {
    /// The program that made it.
    pub tool: Tool,
    /// Whether there is nothing to do.
    pub no_changes: bool,
    /// Every resource that changes.
    pub changes: Vec<ResourceChange>,
    /// Every output that changes.
    pub outputs: Vec<OutputChange>,
    /// What changed outside.
    pub drift: Vec<ResourceChange>,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
    /// The plan file.
    pub plan_file: Bytes,
    /// Digest of the dependency lock file, if there is one.
    pub lock_file_digest: Option<String>,
    /// What the apply needs beside the plan file, packed by the driver for itself.
    pub context: Bytes,
    /// Digest of the source tree.
    pub source_digest: String,
    /// The source tree as it was planned, when the driver fetched it itself (git).
    pub fetched: Option<Fetched>,
    /// The state that the plan was made against.
    pub state: StateMark,
    /// Names of the variables that the configuration marks as sensitive.
    pub sensitive_variables: BTreeSet<String>,
    /// Current outputs, when there is nothing to do.
    pub current_outputs: Vec<Output>,
    /// The tool's own document of the plan, for gates; empty when it has none. In clear: it is read
    /// and forgotten.
    pub document: Bytes,
    /// How it compares with [`PlanInput::approved`]. A driver that cannot tell says nothing, and
    /// nothing is carried on.
    pub equality: Option<Equality>,
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned")
            .field("tool", &self.tool)
            .field("no_changes", &self.no_changes)
            .field("changes", &self.changes.len())
            .field("state", &self.state)
            .field("plan_file_bytes", &self.plan_file.len())
            .field("equality", &self.equality)
            .finish_non_exhaustive()
    }
}

/// A source that the driver fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The tree, as `tar.gz`.
    pub archive: Bytes,
    /// The commit.
    pub commit: String,
}

/// What an apply is made of: just what was planned, and nothing else.
#[derive(Clone)]
pub struct ApplyInput {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The stack.
    pub stack_id: StackId,
    /// What names the stack.
    pub stack: StackKey,
    /// What it is for.
    pub operation: Operation,
    /// The configuration as it was planned (files that it reads are read again).
    pub source: Tree,
    /// Directory of the root module inside the tree; the top when absent.
    pub root: Option<String>,
    /// Input values, in clear (a plan file does not hold ephemeral ones).
    pub variables: Variables,
    /// The program that must apply it.
    pub tool: Tool,
    /// The plan file.
    pub plan_file: Bytes,
    /// What the driver packed for itself at plan time.
    pub context: Bytes,
    /// The stack's current state.
    pub state: Option<StateBlob>,
}

impl fmt::Debug for ApplyInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplyInput")
            .field("deployment_id", &self.deployment_id)
            .field("stack", &self.stack)
            .field("operation", &self.operation)
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("tool", &self.tool)
            .field("plan_file_bytes", &self.plan_file.len())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A finished apply.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The stack's outputs, in clear; sensitive ones are sealed by the house.
    pub outputs: Vec<Output>,
    /// The state after it; already saved through [`Run::save_state`].
    pub state: StateMark,
}

/// What the recovery of a lost apply is made of.
#[derive(Clone)]
pub struct RecoverInput {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The stack.
    pub stack_id: StackId,
    /// What names the stack.
    pub stack: StackKey,
    /// What it is for.
    pub operation: Operation,
    /// The configuration as it was planned.
    pub source: Tree,
    /// Directory of the root module inside the tree; the top when absent.
    pub root: Option<String>,
    /// Input values, in clear.
    pub variables: Variables,
    /// The items of the central configuration that they were made with; for the house.
    pub settings: Vec<SettingUse>,
    /// What the variables above come to in a plan's binding.
    pub variables_digest: String,
    /// What the plan that a person saw is bound to.
    pub approved: Binding,
    /// The file of that plan.
    pub plan_file: Bytes,
    /// What the driver packed with that plan.
    pub context: Bytes,
    /// Everything that was done under its approval, in order.
    pub journal: Vec<JournalEntry>,
    /// Whether the journal is complete, and nothing of the lost run is running any more. If not,
    /// anything may have been begun in its last moment.
    pub collected: bool,
    /// How often the approval was carried on already.
    pub carries: u32,
    /// The stack's current state.
    pub state: Option<StateBlob>,
    /// What a person said about resources in doubt.
    pub resolutions: Vec<Resolution>,
    /// A key of the deployment's own, under which secret values are compared.
    pub key: [u8; 32],
}

impl fmt::Debug for RecoverInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoverInput")
            .field("deployment_id", &self.deployment_id)
            .field("stack", &self.stack)
            .field("journal", &self.journal.len())
            .field("collected", &self.collected)
            .field("carries", &self.carries)
            .field("state", &self.state)
            .field("resolutions", &self.resolutions.len())
            .finish_non_exhaustive()
    }
}

/// What was found out about a lost apply.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// What is known of it.
    pub report: RecoveryReport,
    /// What may follow.
    pub next: AfterRecovery,
}

/// What may follow a recovery.
#[derive(Debug, Clone)]
pub enum AfterRecovery {
    /// Everything was done: there is nothing left to apply.
    Finished(Applied),
    /// The rest is proved to be inside what was approved: this plan may be applied under the same
    /// approval.
    Continue(Box<Planned>),
    /// The rest is not proved to be that, or takes lost things into the state: this plan wants an
    /// approval of its own.
    Propose(Box<Planned>),
    /// Nothing may be planned before a person has said what became of something.
    Ask,
}

/// What a driver finds in the directory of a run whose worker died: the rest of its journal, and
/// its last state.
#[derive(Debug, Clone, Default)]
pub struct Salvage {
    /// Everything that the tool said of resources, from the beginning, in order; `None` when it was
    /// no apply, or left nothing that can be read.
    pub journal: Option<Vec<JournalEntry>>,
    /// The newest state that can be read.
    pub state: Option<StateBlob>,
}

/// What tests are made of. No state of the stack is among it: tests neither use nor write one.
#[derive(Clone)]
pub struct TestInput {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The stack.
    pub stack_id: StackId,
    /// What names the stack.
    pub stack: StackKey,
    /// The configuration.
    pub source: Tree,
    /// Directory of the root module inside the tree; the top when absent.
    pub root: Option<String>,
    /// Input values, in clear.
    pub variables: Variables,
    /// The program that is asked for; the driver's own choice when absent.
    pub tool: Option<ToolChoice>,
    /// What is to be run.
    pub settings: TestSettings,
}

impl fmt::Debug for TestInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestInput")
            .field("deployment_id", &self.deployment_id)
            .field("stack", &self.stack)
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What a look for drift is made of: what the stack runs, and its state as it is now.
#[derive(Clone)]
pub struct DriftInput {
    /// The deployment that the stack runs.
    pub deployment_id: DeploymentId,
    /// The stack.
    pub stack_id: StackId,
    /// What names the stack.
    pub stack: StackKey,
    /// The configuration.
    pub source: Tree,
    /// Directory of the root module inside the tree; the top when absent.
    pub root: Option<String>,
    /// Input values, in clear.
    pub variables: Variables,
    /// The program that is asked for; the driver's own choice when absent.
    pub tool: Option<ToolChoice>,
    /// The stack's current state, if Slipway keeps one.
    pub state: Option<StateBlob>,
}

impl fmt::Debug for DriftInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriftInput")
            .field("deployment_id", &self.deployment_id)
            .field("stack", &self.stack)
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// What a look at the result says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It runs as it should.
    Healthy,
    /// It does not, and why.
    Unhealthy(String),
}

/// How a run of a driver went wrong. The class decides what the house does next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DriverError {
    /// A passing fault: a plan may be tried again.
    #[error("{summary}")]
    Transient {
        /// One sentence.
        summary: String,
        /// Not before this many seconds.
        retry_after_s: Option<u64>,
    },
    /// It will go wrong again: the configuration, the credentials or the world is not right.
    #[error("{summary}")]
    Permanent {
        /// One sentence.
        summary: String,
        /// What the tool said.
        diagnostics: Vec<Diagnostic>,
    },
    /// It stopped because it was asked to. Everything that was done is recorded.
    #[error("stopped on request")]
    Stopped,
    /// It was killed before it could record what it did (an apply only).
    #[error("{summary}")]
    Lost {
        /// One sentence.
        summary: String,
    },
    /// The plan no longer fits the state.
    #[error("{summary}")]
    Stale {
        /// One sentence.
        summary: String,
    },
    /// The house refused a write: the lease is gone.
    #[error("the lease of this job is no longer held")]
    Fenced,
}

impl DriverError {
    /// A permanent error with one diagnostic made of its own text.
    pub fn permanent(summary: impl Into<String>) -> Self {
        Self::Permanent { summary: summary.into(), diagnostics: Vec::new() }
    }

    /// A passing error.
    pub fn transient(summary: impl Into<String>) -> Self {
        Self::Transient { summary: summary.into(), retry_after_s: None }
    }
}

/// How one kind of stack is planned and applied.
#[async_trait]
pub trait Driver: Send + Sync {
    /// Which kind.
    fn kind(&self) -> DriverKind;

    /// Makes a plan. May be repeated freely.
    async fn plan(&self, run: &dyn Run, input: PlanInput) -> Result<Planned, DriverError>;

    /// Applies a plan. Never repeated blindly.
    async fn apply(&self, run: &dyn Run, input: ApplyInput) -> Result<Applied, DriverError>;

    /// Finds out what a lost apply did, and plans what is left. Changes nothing in the world, and may
    /// be repeated freely. A driver that knows no better leaves it to a person.
    async fn recover(&self, _run: &dyn Run, input: RecoverInput) -> Result<Recovered, DriverError> {
        let report = RecoveryReport::of_journal(&input.journal, input.collected);
        Ok(Recovered { report, next: AfterRecovery::Ask })
    }

    /// Runs the tests of a configuration. Tests that do not hold are cases of the answer; an error
    /// says that they could not be run at all. It is [`DriverError::Lost`] only where real things may
    /// be left that nobody named. A driver that has no tests runs none.
    async fn test(&self, _run: &dyn Run, _input: TestInput) -> Result<Tested, DriverError> {
        Ok(Tested::default())
    }

    /// Looks what is other in the world than the state says. Changes nothing, neither the world nor a
    /// state, takes no lock, and may be repeated freely.
    async fn drift(&self, _run: &dyn Run, _input: DriftInput) -> Result<DriftFound, DriverError> {
        Err(DriverError::permanent("stacks of this kind cannot be checked for drift"))
    }

    /// Reads what a dead run left in its directory. Nothing writes there any more. Blocking.
    fn salvage(&self, _dir: &Path) -> Salvage {
        Salvage::default()
    }

    /// Looks whether the result is healthy.
    async fn verify(&self, run: &dyn Run, applied: &Applied) -> Result<Health, DriverError>;
}

/// What can be known of a configuration without running its tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// Its inputs.
    pub inputs: Vec<InputSpec>,
}

impl Inspection {
    /// The names of the inputs that are sensitive.
    pub fn sensitive(&self) -> BTreeSet<String> {
        self.inputs.iter().filter(|i| i.sensitive).map(|i| i.name.clone()).collect()
    }
}

/// Reads configurations in the API, which has no tool: parses, and checks values against declared
/// inputs. Pure and bounded: no processes, no network, no disk.
pub trait Inspect: Send + Sync {
    /// Which kind of stack it reads.
    fn kind(&self) -> DriverKind;

    /// Reads the configuration whose root module is at `root` (the top when `None`). Errors carry
    /// the file, line and column; their pointer is `/source`.
    fn inspect(&self, tree: &Tree, root: Option<&str>) -> Result<Inspection, Vec<FieldError>>;

    /// Checks values against inputs: unknown names, wrong types, missing required ones, broken
    /// constraints. Pointers are `/variables/<name>`. Empty when all is well.
    fn check(&self, inspection: &Inspection, variables: &Variables) -> Vec<FieldError>;

    /// Writes values in the tool's own syntax. Whoever reads it gets the same values, whatever is
    /// in them.
    fn render(&self, variables: &Variables) -> String;
}
