//! A whole worker over a real database, with a driver that does what the test says.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "work/early.rs"]
mod early;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use slipway_domain::access::{Door, Principal};
use slipway_domain::cancel::CancelPhase;
use slipway_domain::clock::SystemClock;
use slipway_domain::deployment::{Deployment, Operation, Options as How, Variables};
use slipway_domain::event::EventBody;
use slipway_domain::fault::FieldError;
use slipway_domain::gate_settings::GateScope;
use slipway_domain::id::{DeploymentId, Mint as _, RandomMint};
use slipway_domain::job::{JobKind, JobLimits, JobState, Queue};
use slipway_domain::plan::{Diagnostic, StateMark, Tool};
use slipway_domain::port::driver::{
    Applied, ApplyInput, Driver, DriverError, Health, Inspect, Inspection, PlanInput, Planned, Run,
    Stop,
};
use slipway_domain::port::estimator::{Estimate, EstimateInput, EstimateStatus, Estimated};
use slipway_domain::run_history::Measure;
use slipway_domain::source::Source;
use slipway_domain::stack::{DriverKind, StackKey};
use slipway_domain::state::DeploymentState as S;
use slipway_domain::template::InputSpec;
use slipway_domain::tree::{Limits, Tree};
use slipway_queue::Embedded;
use slipway_services::deployment::Submit;
use slipway_services::{
    Ctx, Library, Settings, artifact, deployment, event, gate, log, run_history, upkeep,
};
use slipway_store::crypto::Keyring;
use slipway_store::{DatabaseUrl, Options, Store};
use slipway_telemetry::metrics::Metrics;
use slipway_worker::{Loops, Options as WorkerOptions, Shutdown};
use sqlx::{Connection as _, Executor as _};
use tokio_util::sync::CancellationToken;

struct Inputs;

impl Inspect for Inputs {
    fn kind(&self) -> DriverKind {
        DriverKind::Terraform
    }

    fn inspect(&self, _: &Tree, _: Option<&str>) -> Result<Inspection, Vec<FieldError>> {
        let input = |name: &str, sensitive| InputSpec {
            name: name.to_owned(),
            kind: "string".to_owned(),
            description: None,
            required: false,
            default: None,
            sensitive,
            nullable: true,
            constraints: Vec::new(),
        };
        Ok(Inspection { inputs: vec![input("how", false), input("password", true)] })
    }

    fn check(&self, _: &Inspection, _: &Variables) -> Vec<FieldError> {
        Vec::new()
    }

    fn render(&self, variables: &Variables) -> String {
        let lines = variables.iter().map(|(name, value)| format!("{name} = {value}\n"));
        lines.collect()
    }
}

/// A plan's document, by which the price book can reckon.
const DOCUMENT: &[u8] =
    br#"{"format_version": "1.2", "resource_changes": [], "configuration": {}}"#;

/// Remembers what it was asked, and answers nothing of use.
#[derive(Default)]
struct Asked {
    inputs: Mutex<Vec<EstimateInput>>,
    hangs: bool,
}

#[async_trait]
impl Estimate for Asked {
    async fn estimate(&self, run: &dyn Run, input: &EstimateInput) -> Estimated {
        self.inputs.lock().unwrap().push(input.clone());
        let why = if self.hangs {
            run.stopped(Stop::Gently).await;
            "it was stopped on request"
        } else {
            assert!(run.workspace().join("secret").exists(), "the run's own directory");
            run.hide(vec!["key-of-the-api".to_owned()]);
            "key-of-the-api is not good"
        };
        let status = EstimateStatus::Failed { why: why.to_owned() };
        Estimated { version: None, status, duration_ms: 1 }
    }
}

/// Does what the variable `how` says.
#[derive(Default)]
struct Acting {
    plans: AtomicUsize,
    applies: AtomicUsize,
}

#[async_trait]
impl Driver for Acting {
    fn kind(&self) -> DriverKind {
        DriverKind::Terraform
    }

    async fn plan(&self, run: &dyn Run, input: PlanInput) -> Result<Planned, DriverError> {
        self.plans.fetch_add(1, Ordering::SeqCst);
        std::fs::write(run.workspace().join("secret"), "x").unwrap();
        let how = input.variables.get("how").and_then(|how| how.as_str());
        match how {
            Some("fail") => {
                let said = "cannot log in with hunter2-and-more";
                return Err(DriverError::Permanent {
                    summary: said.to_owned(),
                    diagnostics: vec![Diagnostic::error(said, said)],
                });
            }
            Some("panic") => panic!("the driver has a bug"),
            Some("hang in plan") => {
                run.stopped(Stop::Gently).await;
                return Err(DriverError::Stopped);
            }
            _ => {}
        }
        run.measured(Measure { wall_ms: 25_000, peak_rss_bytes: Some(3 << 20) });
        Ok(Planned {
            tool: Tool { name: "terraform".to_owned(), version: "1.11.4".to_owned() },
            no_changes: how == Some("document, the same"),
            changes: Vec::new(),
            outputs: Vec::new(),
            drift: Vec::new(),
            warnings: Vec::new(),
            plan_file: Bytes::from_static(b"plan"),
            lock_file_digest: None,
            context: Bytes::from_static(b"context"),
            source_digest: "sha256:0".to_owned(),
            fetched: None,
            state: StateMark::default(),
            sensitive_variables: BTreeSet::new(),
            current_outputs: Vec::new(),
            document: match how {
                Some("document" | "document, the same") => Bytes::from_static(DOCUMENT),
                _ => Bytes::new(),
            },
            equality: None,
        })
    }

    async fn apply(&self, run: &dyn Run, input: ApplyInput) -> Result<Applied, DriverError> {
        self.applies.fetch_add(1, Ordering::SeqCst);
        match input.variables.get("how").and_then(|how| how.as_str()) {
            Some("hang") => {
                return Err(match run.stopped(Stop::Gently).await {
                    Stop::Gently => DriverError::Stopped,
                    Stop::Now => DriverError::Lost { summary: "killed".to_owned() },
                });
            }
            // As a tool that has much in flight.
            Some("deaf") => {
                run.stopped(Stop::Now).await;
                return Err(DriverError::Lost { summary: "killed".to_owned() });
            }
            Some("short") => tokio::time::sleep(Duration::from_millis(300)).await,
            _ => {}
        }
        run.measured(Measure { wall_ms: 2_000, peak_rss_bytes: None });
        Ok(Applied { outputs: Vec::new(), state: StateMark::default() })
    }

    async fn verify(&self, _: &dyn Run, _: &Applied) -> Result<Health, DriverError> {
        Ok(Health::Healthy)
    }
}

struct Rig {
    cx: Ctx,
    who: Principal,
    driver: Arc<Acting>,
    estimator: Option<Arc<Asked>>,
    shutdown: Shutdown,
    end_loops: CancellationToken,
    dir: tempfile::TempDir,
}

async fn open(database: DatabaseUrl, dir: tempfile::TempDir) -> Rig {
    let store = Store::open(
        &Options {
            database,
            max_connections: 8,
            connect_timeout: Duration::from_secs(20),
            artifacts_dir: dir.path().join("artifacts"),
            inline_max_bytes: 4096,
        },
        Keyring::parse(&Keyring::generate().unwrap()).unwrap(),
    )
    .await
    .unwrap();
    let limits = Limits { total_bytes: 1 << 20, entries: 100 };
    let job = JobLimits { max_attempts: 3, soft_limit_s: 60, hard_limit_s: 120 };
    let cx = Ctx {
        store,
        transport: Arc::new(Embedded::default()),
        clock: Arc::new(SystemClock),
        mint: Arc::new(RandomMint),
        inspector: Arc::new(Inputs),
        templates: Arc::new(Library::load(&Inputs, None, limits).unwrap()),
        settings: Arc::new(Settings {
            source_limits: limits,
            directory_root: None,
            git_allow_file: false,
            git_allow_http: false,
            gates: slipway_domain::gate_settings::GateSettings::default(),
            plan_limits: job,
            test_limits: job,
            apply_limits: job,
            adaptive_limits: false,
            drift: slipway_domain::drift::schedule::Schedule::default(),
            idempotency_ttl: chrono::Duration::hours(24),
            recovery_grace: chrono::Duration::seconds(2),
            log_retention: chrono::Duration::days(30),
            auth: slipway_services::auth::AuthSettings::default(),
        }),
        gathered: Arc::default(),
    };
    Rig {
        cx,
        who: Principal::local(Door::Rest),
        driver: Arc::default(),
        estimator: None,
        shutdown: Shutdown::default(),
        end_loops: CancellationToken::new(),
        dir,
    }
}

async fn sqlite() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    open(DatabaseUrl::Sqlite(dir.path().join("test.db")), dir).await
}

async fn postgres() -> Rig {
    postgres_and_url().await.0
}

/// Also the URL of the test's own database.
#[expect(clippy::disallowed_methods, reason = "tests read their rig from the environment")]
async fn postgres_and_url() -> (Rig, String) {
    let url = std::env::var("SLIPWAY_TEST_POSTGRES_URL")
        .expect("SLIPWAY_TEST_POSTGRES_URL is not set; `./test unit` starts a PostgreSQL for it");
    let name = format!("w_{}", RandomMint.uuid().simple());
    let mut admin = sqlx::PgConnection::connect(&url).await.unwrap();
    admin.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    admin.close().await.unwrap();
    let (base, _) = url.rsplit_once('/').unwrap();
    let url = format!("{base}/{name}");
    let rig = open(DatabaseUrl::Postgres(url.clone()), tempfile::tempdir().unwrap()).await;
    (rig, url)
}

/// Waits until something is so; `otherwise` is said when it does not come to that.
async fn wait_for(is_so: impl Fn() -> bool, otherwise: &str) {
    let end = std::time::Instant::now() + Duration::from_secs(15);
    while !is_so() {
        assert!(std::time::Instant::now() < end, "{otherwise}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Rig {
    /// Starts a worker with a short lease, and the loops if the test needs them.
    fn start(&self, loops: bool) -> tokio::task::JoinHandle<()> {
        let options = WorkerOptions {
            queues: BTreeMap::from([(Queue::Plan, 2), (Queue::Apply, 2)]),
            lease: Duration::from_millis(1500),
            heartbeat: Duration::from_millis(400),
            drain_grace: Duration::from_mins(1),
            // Only bells wake it.
            poll: Duration::from_mins(5),
            work_dir: self.dir.path().join("work"),
            host: "test".to_owned(),
            version: "0".to_owned(),
            scan_time_limit: Duration::from_mins(1),
        };
        if loops {
            tokio::spawn(Loops::default().run(self.cx.clone(), self.end_loops.clone()));
        }
        let (cx, driver, shutdown) = (self.cx.clone(), self.driver.clone(), self.shutdown.clone());
        let estimator = self.estimator.clone().map(|asked| asked as Arc<dyn Estimate>);
        tokio::spawn(async move {
            let metrics = Metrics::new("test").unwrap();
            let tools = slipway_worker::Tools { driver, scanners: None, estimator };
            slipway_worker::work(cx, tools, options, metrics, shutdown).await.unwrap();
        })
    }

    async fn submit(&self, stack: &str, how: &str) -> DeploymentId {
        let mut tree = Tree::new();
        tree.add_file("main.tf", b"#".to_vec(), false).unwrap();
        let packed = tree.to_tar_gz().unwrap();
        let kept = artifact::upload(&self.cx, &self.who, packed, None).await.unwrap();
        let request = Submit {
            stack: StackKey {
                project: "shop".into(),
                name: stack.into(),
                environment: "dev".into(),
            },
            source: Some(Source::Archive { artifact_id: kept.artifact.id, path: None }),
            variables: [
                ("how".to_owned(), json!(how)),
                ("password".to_owned(), json!("hunter2-and-more")),
            ]
            .into(),
            operation: Operation::Deploy,
            options: How::default(),
        };
        deployment::submit(&self.cx, &self.who, request, None).await.unwrap().deployment.id
    }

    async fn until(&self, id: DeploymentId, state: S) -> Deployment {
        let done = |d: &Deployment| d.state == state || d.state.is_terminal();
        let wait = Duration::from_secs(15);
        let (found, _) = event::wait(&self.cx, &self.who, id, wait, done).await.unwrap();
        assert_eq!(found.state, state, "{:?} {:?}", found.reason, found.phases);
        found
    }

    async fn approve(&self, id: DeploymentId) {
        let plan = self.until(id, S::AwaitingApproval).await.plan.unwrap();
        deployment::approve(&self.cx, &self.who, id, &plan.digest, None).await.unwrap();
    }

    /// Waits until so many applies are in the hands of the driver.
    async fn begun(&self, applies: usize) {
        let begun = || self.driver.applies.load(Ordering::SeqCst) >= applies;
        wait_for(begun, "the driver is not started").await;
    }

    async fn running(&self, id: DeploymentId) -> usize {
        let jobs = self.cx.store.read().await.unwrap().jobs_of(id).await.unwrap();
        jobs.iter().filter(|job| job.state == JobState::Running).count()
    }
}

/// The database stands still for longer than a lease: what ran is stopped and closed by its kind's
/// rule, and the worker goes on with new work as if nothing had been.
async fn a_worker_survives_a_database_that_stood_still(rig: Rig) {
    let worker = rig.start(true);
    let hangs = rig.submit("net", "deaf").await;
    rig.approve(hangs).await;
    rig.until(hangs, S::Applying).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let jobs = rig.cx.store.read().await.unwrap().jobs_of(hangs).await.unwrap();
    let mut tx = rig.cx.store.begin().await.unwrap();
    // Whoever wants to renew this job's lease waits.
    tx.end_job(jobs[1].id, JobState::Running, None, rig.cx.now()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    tx.rollback().await.unwrap();
    let lost = rig.until(hangs, S::NeedsAttention).await;
    assert!(lost.reason.unwrap().contains("lost"));
    assert_eq!(rig.running(hangs).await, 0);
    for round in 0..3 {
        let next = rig.submit(&format!("db{round}"), "short").await;
        rig.approve(next).await;
        rig.until(next, S::Succeeded).await;
    }
    assert_eq!(rig.driver.applies.load(Ordering::SeqCst), 4, "none was repeated");
    rig.shutdown.drain.cancel();
    worker.await.unwrap();
    rig.end_loops.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_survives_a_sqlite_that_stood_still() {
    a_worker_survives_a_database_that_stood_still(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_survives_a_postgres_that_stood_still() {
    a_worker_survives_a_database_that_stood_still(postgres().await).await;
}

/// PostgreSQL does not wait for the disk when a plan is claimed; when it dies, the job's row is what it
/// was before. That is put back here by hand: nobody who speaks to the store can do it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_given_again_under_the_lease_it_runs_under_runs_once() {
    let (rig, url) = postgres_and_url().await;
    let id = rig.submit("net", "plan").await;
    let claimed = async || {
        let end = std::time::Instant::now() + Duration::from_secs(15);
        loop {
            let jobs = rig.cx.store.read().await.unwrap().jobs_of(id).await.unwrap();
            if jobs[0].state == JobState::Running {
                return jobs[0].epoch;
            }
            assert!(std::time::Instant::now() < end, "it is not claimed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // The run that is there does not get to its beginning.
    let mut holds_it_up = rig.cx.store.begin().await.unwrap();
    holds_it_up.lock_deployment(id).await.unwrap();
    // A heartbeat that comes before the job is given again stops the run, and the reaper has it made
    // anew.
    let worker = rig.start(true);
    let first = claimed().await;
    let mut c = sqlx::PgConnection::connect(&url).await.unwrap();
    c.execute(
        "update jobs set state = 'queued', worker_id = null, epoch = epoch - 1,
             attempt = attempt - 1, lease_until_ms = null, started_at = null",
    )
    .await
    .unwrap();
    let mut tx = rig.cx.store.begin().await.unwrap();
    tx.forget_bells(Queue::Plan).await.unwrap();
    tx.commit().await.unwrap();
    upkeep::relay(&rig.cx).await.unwrap();
    assert_eq!(claimed().await, first);
    holds_it_up.rollback().await.unwrap();
    rig.until(id, S::AwaitingApproval).await;
    rig.shutdown.drain.cancel();
    // A second run would be waited for.
    worker.await.unwrap();
    rig.end_loops.cancel();
    assert_eq!(rig.driver.plans.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finished_runs_took_is_kept_and_makes_limits_longer_where_that_is_asked_for() {
    let rig = sqlite().await;
    let worker = rig.start(false);
    let done = rig.submit("net", "short").await;
    rig.approve(done).await;
    let stack = rig.until(done, S::Succeeded).await.stack_id;
    let fails = rig.submit("net", "fail").await;
    rig.until(fails, S::Failed).await;
    rig.shutdown.drain.cancel();
    worker.await.unwrap();

    let mut tx = rig.cx.store.read().await.unwrap();
    let runs = tx.past_runs(stack).await.unwrap();
    let jobs = tx.jobs_of(done).await.unwrap();
    drop(tx);
    let mut took: Vec<_> = runs.iter().map(|r| (r.job_id, r.measure.wall_ms)).collect();
    took.sort_by_key(|(_, wall_ms)| *wall_ms);
    let job = |kind| jobs.iter().find(|job| job.kind == kind).unwrap();
    let (plan, apply) = (job(JobKind::Plan), job(JobKind::Apply));
    assert_eq!(took, [(apply.id, 2_000), (plan.id, 25_000)]);

    let limits = async |cx: &Ctx| {
        let plan_s = run_history::soft_limit_s(cx, plan).await;
        (plan_s, run_history::soft_limit_s(cx, apply).await)
    };
    assert_eq!(limits(&rig.cx).await, (60, 60), "as configured");
    let mut settings = (*rig.cx.settings).clone();
    settings.adaptive_limits = true;
    let adaptive = Ctx { settings: Arc::new(settings), ..rig.cx.clone() };
    assert_eq!(limits(&adaptive).await, (75, 60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_that_waits_for_its_stack_begins_when_the_stack_is_free() {
    let rig = sqlite().await;
    let worker = rig.start(false);
    let first = rig.submit("net", "short").await;
    let second = rig.submit("net", "short").await;
    rig.approve(first).await;
    rig.until(first, S::Applying).await;
    rig.approve(second).await;
    rig.until(first, S::Succeeded).await;
    let began = std::time::Instant::now();
    rig.until(second, S::Succeeded).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    rig.shutdown.drain.cancel();
    worker.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_stop_drains_and_a_second_one_kills() {
    let rig = sqlite().await;
    let worker = rig.start(true);
    let deaf = rig.submit("net", "deaf").await;
    rig.approve(deaf).await;
    rig.until(deaf, S::Applying).await;
    rig.begun(1).await;
    let cancel = async || deployment::cancel(&rig.cx, &rig.who, deaf, None, false).await.unwrap();
    cancel().await;
    let drains = |d: &Deployment| d.cancel.as_ref().unwrap().phase == CancelPhase::Draining;
    let wait = Duration::from_secs(15);
    let (found, _) = event::wait(&rig.cx, &rig.who, deaf, wait, drains).await.unwrap();
    assert!(drains(&found), "{found:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.running(deaf).await, 1, "it has much in flight");
    cancel().await;
    let killed = rig.until(deaf, S::NeedsAttention).await;
    assert_eq!(killed.cancel.unwrap().phase, CancelPhase::Killed);
    // What stops when it is asked is cancelled in order.
    let hangs = rig.submit("db", "hang").await;
    rig.approve(hangs).await;
    rig.until(hangs, S::Applying).await;
    rig.begun(2).await;
    deployment::cancel(&rig.cx, &rig.who, hangs, None, false).await.unwrap();
    let stopped = rig.until(hangs, S::Cancelled).await;
    assert_eq!(stopped.cancel.unwrap().phase, CancelPhase::Stopped);
    rig.shutdown.drain.cancel();
    worker.await.unwrap();
    rig.end_loops.cancel();
}

/// Has the gates of everything ask infracost.
async fn ask_infracost(rig: &Rig) {
    let asked =
        json!({"cost": {"estimate": {"currency": "EUR"}, "infracost": {"time_limit_s": 77}}});
    let settings = serde_json::from_value(asked).unwrap();
    let everything = gate::Precondition::Any;
    gate::set(&rig.cx, &rig.who, GateScope::default(), settings, everything).await.unwrap();
}

/// What the report of a plan says of infracost.
async fn said_of_infracost(rig: &Rig, id: DeploymentId) -> Vec<String> {
    let report = gate::report(&rig.cx, &rig.who, id).await.unwrap();
    let skipped = report.judgement.skipped.into_iter().filter(|s| s.tool == "infracost");
    skipped.map(|skipped| skipped.why).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estimate_is_asked_for_where_gates_want_one_and_there_is_something_to_ask() {
    let mut rig = sqlite().await;
    let asked = Arc::new(Asked::default());
    rig.estimator = Some(asked.clone());
    let worker = rig.start(false);
    let times = || asked.inputs.lock().unwrap().len();
    let unasked = rig.submit("a", "document").await;
    rig.until(unasked, S::AwaitingApproval).await;
    assert_eq!((times(), said_of_infracost(&rig, unasked).await.len()), (0, 0));

    ask_infracost(&rig).await;
    let same = rig.submit("b", "document, the same").await;
    rig.until(same, S::NoChanges).await;
    let without = rig.submit("c", "plan").await;
    rig.until(without, S::AwaitingApproval).await;
    assert_eq!(times(), 0, "no changes, no document");
    assert!(said_of_infracost(&rig, without).await[0].contains("no document"));

    let wanted = rig.submit("d", "document").await;
    rig.until(wanted, S::AwaitingApproval).await;
    let inputs = asked.inputs.lock().unwrap().clone();
    let [input] = inputs.as_slice() else { panic!("{inputs:?}") };
    assert_eq!((&*input.document, input.currency.as_str()), (DOCUMENT, "EUR"));
    assert_eq!(input.time_limit, Duration::from_secs(77));
    // What it told the run to hide is masked in what the gate says, too.
    assert_eq!(said_of_infracost(&rig, wanted).await, ["*** is not good"]);
    rig.shutdown.drain.cancel();
    worker.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estimate_ends_when_its_job_is_stopped_and_a_worker_without_one_says_so() {
    let mut rig = sqlite().await;
    ask_infracost(&rig).await;
    let worker = rig.start(true);
    let missing = rig.submit("a", "document").await;
    rig.until(missing, S::AwaitingApproval).await;
    assert_eq!(said_of_infracost(&rig, missing).await, ["this worker has no infracost"]);
    rig.shutdown.drain.cancel();
    worker.await.unwrap();

    rig.shutdown = Shutdown::default();
    let asked = Arc::new(Asked { hangs: true, ..Asked::default() });
    rig.estimator = Some(asked.clone());
    let worker = rig.start(false);
    let hangs = rig.submit("b", "document").await;
    wait_for(|| !asked.inputs.lock().unwrap().is_empty(), "it is not asked").await;
    deployment::cancel(&rig.cx, &rig.who, hangs, None, false).await.unwrap();
    rig.until(hangs, S::Cancelled).await;
    rig.shutdown.drain.cancel();
    worker.await.unwrap();
    rig.end_loops.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_whose_estimate_was_cut_short_is_not_judged_but_made_again() {
    let mut rig = sqlite().await;
    ask_infracost(&rig).await;
    let asked = Arc::new(Asked { hangs: true, ..Asked::default() });
    rig.estimator = Some(asked.clone());
    let worker = rig.start(true);
    let id = rig.submit("a", "document").await;
    wait_for(|| !asked.inputs.lock().unwrap().is_empty(), "it is not asked").await;
    rig.shutdown.drain.cancel();
    rig.shutdown.stop.cancel();
    worker.await.unwrap();
    let left = deployment::get(&rig.cx, &rig.who, id).await.unwrap();
    assert!(left.plan.is_none() && !left.state.is_terminal(), "{left:?}");

    rig.shutdown = Shutdown::default();
    rig.estimator = Some(Arc::default());
    let worker = rig.start(false);
    rig.until(id, S::AwaitingApproval).await;
    assert_eq!(said_of_infracost(&rig, id).await, ["*** is not good"]);
    rig.shutdown.drain.cancel();
    worker.await.unwrap();
    rig.end_loops.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tool_quotes_is_masked_wherever_it_ends() {
    let rig = sqlite().await;
    let worker = rig.start(false);
    let id = rig.submit("net", "fail").await;
    let failed = rig.until(id, S::Failed).await;
    let events = event::page(&rig.cx, &rig.who, id, 0, 100).await.unwrap();
    let lines = log::page(&rig.cx, &rig.who, id, log::Part::After(0), 100).await.unwrap();
    let shown = serde_json::to_string(&(&failed, &events, &lines)).unwrap();
    assert!(failed.failure.unwrap().summary.contains("***"));
    assert!(!shown.contains("hunter2"), "{shown}");
    rig.shutdown.drain.cancel();
    worker.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_leaves_nothing_running_and_nothing_on_disk() {
    let rig = sqlite().await;
    let worker = rig.start(false);
    let hangs = rig.submit("net", "hang").await;
    rig.approve(hangs).await;
    rig.until(hangs, S::Applying).await;
    let bug = rig.submit("db", "panic").await;
    rig.until(bug, S::Failed).await;
    rig.shutdown.drain.cancel();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!worker.is_finished(), "the first signal lets it finish");
    rig.shutdown.stop.cancel();
    worker.await.unwrap();
    let stopped = rig.until(hangs, S::Failed).await;
    assert!(stopped.reason.unwrap().contains("shut down"));
    assert_eq!(rig.running(hangs).await + rig.running(bug).await, 0);
    let events = event::page(&rig.cx, &rig.who, hangs, 0, 100).await.unwrap();
    let last = &events.last().unwrap().body;
    assert!(matches!(last, EventBody::StateChanged { to: S::Failed, .. }), "{last:?}");
    let left = std::fs::read_dir(rig.dir.path().join("work")).unwrap();
    let left: Vec<_> = left.map(|item| item.unwrap().file_name()).collect();
    assert_eq!(left, [".lock"], "workspaces are wiped");
}
