//! A job to run the driver for: keeps what it says, and can be told to stop.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use slipway_domain::deployment::{Operation, Output, Variables};
use slipway_domain::event::{EventBody, ResourceStatus};
use slipway_domain::id::{DeploymentId, Mint as _, RandomMint, StackId};
use slipway_domain::log::NewLogLine;
use slipway_domain::port::driver::{
    Applied, ApplyInput, Driver as _, DriverError, LeaseEnd, PlanInput, Planned, Run, SourceInput,
    StateBlob, Stop,
};
use slipway_domain::redact::Redactor;
use slipway_domain::run_history::Measure;
use slipway_domain::stack::StackKey;
use slipway_domain::tree::Tree;
use slipway_driver_terraform::{Guard, Options, Terraform};
use tokio::sync::watch;

/// The trace that every job belongs to.
pub(crate) const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The executable that is the guard here; in the product it is `slipway` itself.
pub(crate) const GUARD: &str = env!("CARGO_BIN_EXE_slipway-guard-for-tests");

/// One job.
pub(crate) struct Job {
    dir: tempfile::TempDir,
    pub lines: Mutex<Vec<NewLogLine>>,
    pub events: Mutex<Vec<EventBody>>,
    pub states: Mutex<Vec<StateBlob>>,
    /// How many events were known to be safe when each state was saved.
    pub safe: Mutex<Vec<usize>>,
    kept: Mutex<usize>,
    /// Refuse to save from this version on.
    fenced: bool,
    stop: watch::Sender<Option<Stop>>,
    /// Stop so hard when this many resources have been begun.
    stop_at: Option<(usize, Stop)>,
    redactor: Redactor,
    /// What it said is secret.
    pub(crate) hidden: Mutex<Vec<String>>,
    /// It runs under a lease that is never renewed.
    lease_end: Option<LeaseEnd>,
    pub(crate) measures: Mutex<Vec<Measure>>,
}

impl Job {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            lines: Mutex::default(),
            events: Mutex::default(),
            states: Mutex::default(),
            safe: Mutex::default(),
            kept: Mutex::default(),
            fenced: false,
            stop: watch::Sender::new(None),
            stop_at: None,
            redactor: Redactor::default(),
            hidden: Mutex::default(),
            lease_end: None,
            measures: Mutex::default(),
        }
    }

    pub(crate) fn stopping_at(begun: usize, stop: Stop) -> Self {
        Self { stop_at: Some((begun, stop)), ..Self::new() }
    }

    /// One whose worker has lost its lease: no state is taken.
    pub(crate) fn fenced() -> Self {
        Self { fenced: true, ..Self::new() }
    }

    pub(crate) fn knowing(secrets: &[&str]) -> Self {
        Self { redactor: Redactor::new(secrets), ..Self::new() }
    }

    /// One whose worker hears nothing of its lease any more.
    pub(crate) fn until(lease_end: LeaseEnd) -> Self {
        Self { lease_end: Some(lease_end), ..Self::new() }
    }

    pub(crate) fn ask(&self, stop: Stop) {
        self.stop.send_replace(Some(stop));
    }

    fn of<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
        list.lock().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        Self::of(&self.lines).iter().flat_map(|l| [l.text.as_str(), "\n"]).collect()
    }

    /// The `init` steps' details, and the other steps' names.
    pub(crate) fn steps(&self) -> Vec<String> {
        let steps = Self::of(&self.events).clone();
        let steps = steps.into_iter().filter_map(|event| match event {
            EventBody::Step { step, detail: Some(detail) } => Some(format!("{step}: {detail}")),
            EventBody::Step { step, detail: None } => Some(step),
            _ => None,
        });
        steps.collect()
    }

    pub(crate) fn resources(&self, status: ResourceStatus) -> Vec<String> {
        let events = Self::of(&self.events).clone();
        let of = events.into_iter().filter_map(|event| match event {
            EventBody::Resource { address, status: s, .. } if s == status => Some(address),
            _ => None,
        });
        of.collect()
    }

    pub(crate) fn last_state(&self) -> Option<StateBlob> {
        Self::of(&self.states).last().cloned()
    }
}

#[async_trait]
impl Run for Job {
    fn workspace(&self) -> &Path {
        self.dir.path()
    }

    fn redactor(&self) -> Redactor {
        self.redactor.clone()
    }

    fn hide(&self, secrets: Vec<String>) {
        Self::of(&self.hidden).extend(secrets);
    }

    fn traceparent(&self) -> Option<String> {
        Some(TRACEPARENT.to_owned())
    }

    fn measured(&self, measure: Measure) {
        Self::of(&self.measures).push(measure);
    }

    fn log(&self, line: NewLogLine) {
        Self::of(&self.lines).push(line);
    }

    fn event(&self, event: EventBody) {
        Self::of(&self.events).push(event);
        if let Some((begun, stop)) = self.stop_at
            && self.resources(ResourceStatus::Started).len() >= begun
        {
            self.ask(stop);
        }
    }

    async fn events_kept(&self) -> Result<(), DriverError> {
        let events = Self::of(&self.events).len();
        *self.kept.lock().unwrap() = events;
        Ok(())
    }

    async fn save_state(&self, state: StateBlob) -> Result<(), DriverError> {
        if self.fenced {
            return Err(DriverError::Fenced);
        }
        Self::of(&self.safe).push(*self.kept.lock().unwrap());
        Self::of(&self.states).push(state);
        Ok(())
    }

    fn stop(&self) -> Option<Stop> {
        *self.stop.borrow()
    }

    async fn stopped(&self, at_least: Stop) -> Stop {
        let mut seen = self.stop.subscribe();
        let stop = *seen.wait_for(|stop| stop.is_some_and(|s| s >= at_least)).await.unwrap();
        stop.unwrap()
    }

    fn lease_end(&self) -> Option<LeaseEnd> {
        self.lease_end
    }
}

/// A driver with a cache of its own, and a stack that lives through several jobs.
pub(crate) struct Rig {
    pub driver: Terraform,
    pub cache: PathBuf,
    _dir: tempfile::TempDir,
    pub state: Option<StateBlob>,
    pub root: Option<String>,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// With providers from the mirror.
    pub(crate) async fn with_mirror() -> Self {
        let mirror = mirror();
        Self::with(|options| options.provider_mirror = Some(mirror)).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let mut options = Options::new(&cache);
        options.git.allow_file = true;
        options.guard = Guard::At(GUARD.into());
        change(&mut options);
        let driver = Terraform::detect(options).await.unwrap();
        Self { driver, cache, _dir: dir, state: None, root: None }
    }

    pub(crate) fn input(
        &self,
        source: SourceInput,
        variables: &[(&str, serde_json::Value)],
    ) -> PlanInput {
        PlanInput {
            deployment_id: DeploymentId(RandomMint.uuid()),
            stack_id: StackId(RandomMint.uuid()),
            stack: key(),
            operation: Operation::Deploy,
            source,
            root: self.root.clone(),
            variables: values(variables),
            settings: Vec::new(),
            tool: None,
            state: self.state.clone(),
            approved: None,
        }
    }

    pub(crate) async fn plan(&self, job: &Job, tree: &Tree) -> Result<Planned, DriverError> {
        self.plan_with(job, tree, &[]).await
    }

    pub(crate) async fn plan_with(
        &self,
        job: &Job,
        tree: &Tree,
        variables: &[(&str, serde_json::Value)],
    ) -> Result<Planned, DriverError> {
        self.driver.plan(job, self.input(SourceInput::Tree(tree.clone()), variables)).await
    }

    pub(crate) async fn destroy(&self, job: &Job, tree: &Tree) -> Result<Planned, DriverError> {
        let mut input = self.input(SourceInput::Tree(tree.clone()), &[]);
        input.operation = Operation::Destroy;
        self.driver.plan(job, input).await
    }

    pub(crate) fn applying(&self, tree: &Tree, planned: &Planned) -> ApplyInput {
        ApplyInput {
            deployment_id: DeploymentId(RandomMint.uuid()),
            stack_id: StackId(RandomMint.uuid()),
            stack: key(),
            operation: Operation::Deploy,
            source: tree.clone(),
            root: self.root.clone(),
            variables: Variables::new(),
            tool: planned.tool.clone(),
            plan_file: planned.plan_file.clone(),
            context: planned.context.clone(),
            state: self.state.clone(),
        }
    }

    /// Applies, and takes over the state that was saved, as the house would.
    pub(crate) async fn apply(
        &mut self,
        job: &Job,
        tree: &Tree,
        planned: &Planned,
    ) -> Result<Applied, DriverError> {
        let applied = self.driver.apply(job, self.applying(tree, planned)).await;
        if let Some(state) = job.last_state() {
            self.state = Some(state);
        }
        applied
    }

    /// Plans and applies, without a hitch.
    pub(crate) async fn deploy(&mut self, tree: &Tree) -> Applied {
        let planned = self.plan(&Job::new(), tree).await.unwrap();
        self.apply(&Job::new(), tree, &planned).await.unwrap()
    }
}

pub(crate) fn key() -> StackKey {
    StackKey { project: "shop".into(), name: "net".into(), environment: "dev".into() }
}

pub(crate) fn values(pairs: &[(&str, serde_json::Value)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, content) in files {
        tree.add_file(path, content.as_bytes().to_vec(), false).unwrap();
    }
    tree
}

pub(crate) fn output<'a>(outputs: &'a [Output], name: &str) -> &'a Output {
    outputs.iter().find(|o| o.name == name).unwrap_or_else(|| panic!("no output {name}"))
}

pub(crate) fn mirror() -> PathBuf {
    let mirror = std::env::var_os("SLIPWAY_TEST_PROVIDER_MIRROR").unwrap_or_else(|| {
        panic!(
            "SLIPWAY_TEST_PROVIDER_MIRROR is not set: it must name an unpacked provider mirror with \
             hashicorp/random, null, local and time"
        )
    });
    mirror.into()
}

/// The steps that say how the workspace became ready.
pub(crate) fn inits(job: &Job) -> Vec<String> {
    job.steps().into_iter().filter(|step| step.starts_with("init")).collect()
}

pub(crate) fn permanent(error: DriverError) -> (String, Vec<slipway_domain::plan::Diagnostic>) {
    match error {
        DriverError::Permanent { summary, diagnostics } => (summary, diagnostics),
        other => panic!("not permanent: {other:?}"),
    }
}
