//! A house over a real database, without doors and without a driver: tests play both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use slipway_domain::access::{Door, Principal};
use slipway_domain::clock::FixedClock;
use slipway_domain::deployment::{Deployment, Operation, Options as How, Variables};
use slipway_domain::fault::{Fault, FieldError};
use slipway_domain::id::{DeploymentId, Mint as _, RandomMint, WorkerId};
use slipway_domain::job::{Job, JobKind, JobLimits, Lease, Queue};
use slipway_domain::plan::{Action, ResourceChange, StateMark, Tool};
use slipway_domain::port::driver::{
    Inspect, Inspection, Planned, RecoverInput, Salvage, StateBlob,
};
use slipway_domain::source::Source;
use slipway_domain::stack::{DriverKind, StackKey};
use slipway_domain::template::InputSpec;
use slipway_domain::test_report::TestSettings;
use slipway_domain::tree::{Limits, Tree};
use slipway_queue::Embedded;
use slipway_services::deployment::Submit;
use slipway_services::execution::Begun;
use slipway_services::gate::Seen;
use slipway_services::{
    Ctx, Library, Settings, artifact, deployment, event, execution, recovery, test,
};
use slipway_store::crypto::Keyring;
use slipway_store::{DatabaseUrl, Options, Store};
use sqlx::{Connection as _, Executor as _};

/// `# sensitive` in a line `variable "name" {}` says that it is.
struct Lines;

impl Inspect for Lines {
    fn kind(&self) -> DriverKind {
        DriverKind::Terraform
    }

    fn inspect(&self, tree: &Tree, _: Option<&str>) -> Result<Inspection, Vec<FieldError>> {
        let text = tree.file("main.tf").map(|f| String::from_utf8_lossy(f).into_owned());
        let text = text.unwrap_or_default();
        let inputs = text.lines().filter_map(|line| {
            let name = line.strip_prefix("variable \"")?.split('"').next()?;
            Some(InputSpec {
                name: name.to_owned(),
                kind: "string".to_owned(),
                description: None,
                required: false,
                default: None,
                sensitive: line.contains("# sensitive"),
                nullable: true,
                constraints: Vec::new(),
            })
        });
        Ok(Inspection { inputs: inputs.collect() })
    }

    fn check(&self, inspection: &Inspection, variables: &Variables) -> Vec<FieldError> {
        let known: BTreeSet<_> = inspection.inputs.iter().map(|i| i.name.as_str()).collect();
        let unknown = variables.keys().filter(|name| !known.contains(name.as_str()));
        unknown.map(|name| FieldError::at(format!("/variables/{name}"), "unknown")).collect()
    }

    fn render(&self, variables: &Variables) -> String {
        let lines = variables.iter().map(|(name, value)| format!("{name} = {value}\n"));
        lines.collect()
    }
}

pub(crate) const SOURCE: &str = "variable \"region\" {}\nvariable \"password\" {} # sensitive\nvariable \"token\" {} # sensitive\n";

pub(crate) struct Rig {
    pub(crate) cx: Ctx,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) who: Principal,
    pub(crate) worker: WorkerId,
    database: DatabaseUrl,
    _dir: tempfile::TempDir,
}

async fn open(database: DatabaseUrl, dir: tempfile::TempDir, connections: u32) -> Rig {
    let place = database.clone();
    let store = Store::open(
        &Options {
            database,
            max_connections: connections,
            connect_timeout: Duration::from_secs(if connections == 1 { 1 } else { 20 }),
            artifacts_dir: dir.path().join("artifacts"),
            inline_max_bytes: 4096,
        },
        Keyring::parse(&Keyring::generate().unwrap()).unwrap(),
    )
    .await
    .unwrap();
    let limits = Limits { total_bytes: 1 << 20, entries: 100 };
    let job = JobLimits { max_attempts: 3, soft_limit_s: 60, hard_limit_s: 120 };
    let library = Library::load(&Lines, None, limits).unwrap();
    let clock = Arc::new(FixedClock::new(slipway_domain::clock::SystemClock.now_of()));
    let cx = Ctx {
        store,
        transport: Arc::new(Embedded::default()),
        clock: clock.clone(),
        mint: Arc::new(RandomMint),
        inspector: Arc::new(Lines),
        templates: Arc::new(library),
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
            recovery_grace: chrono::Duration::seconds(60),
            log_retention: chrono::Duration::days(30),
            auth: slipway_services::auth::AuthSettings::default(),
        }),
        gathered: Arc::default(),
    };
    let worker = WorkerId::new(&RandomMint);
    Rig { cx, clock, who: Principal::local(Door::Rest), worker, database: place, _dir: dir }
}

/// The machine's time, for a clock that then stands still.
trait NowOf {
    fn now_of(&self) -> chrono::DateTime<chrono::Utc>;
}

impl NowOf for slipway_domain::clock::SystemClock {
    fn now_of(&self) -> chrono::DateTime<chrono::Utc> {
        slipway_domain::Clock::now(self)
    }
}

pub(crate) async fn sqlite(connections: u32) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    open(DatabaseUrl::Sqlite(dir.path().join("test.db")), dir, connections).await
}

#[expect(clippy::disallowed_methods, reason = "tests read their rig from the environment")]
pub(crate) async fn postgres(connections: u32) -> Rig {
    let url = std::env::var("SLIPWAY_TEST_POSTGRES_URL")
        .expect("SLIPWAY_TEST_POSTGRES_URL is not set; `./test unit` starts a PostgreSQL for it");
    let name = format!("s_{}", RandomMint.uuid().simple());
    let mut admin = sqlx::PgConnection::connect(&url).await.unwrap();
    admin.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    admin.close().await.unwrap();
    let (base, _) = url.rsplit_once('/').unwrap();
    let url = DatabaseUrl::Postgres(format!("{base}/{name}"));
    open(url, tempfile::tempdir().unwrap(), connections).await
}

macro_rules! on_both_engines {
    ($($name:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::rig::sqlite(8).await).await })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::rig::postgres(8).await).await })*
        }
    };
}
pub(crate) use on_both_engines;

pub(crate) fn key(name: &str) -> StackKey {
    StackKey { project: "shop".into(), name: name.into(), environment: "dev".into() }
}

pub(crate) fn packed() -> Bytes {
    let mut tree = Tree::new();
    tree.add_file("main.tf", SOURCE.as_bytes().to_vec(), false).unwrap();
    tree.to_tar_gz().unwrap()
}

impl Rig {
    pub(crate) async fn request(&self, stack: &str) -> Submit {
        let kept = artifact::upload(&self.cx, &self.who, packed(), None).await.unwrap();
        Submit {
            stack: key(stack),
            source: Some(Source::Archive { artifact_id: kept.artifact.id, path: None }),
            variables: [
                ("region".to_owned(), json!("eu-west-1")),
                ("password".to_owned(), json!("hunter2")),
            ]
            .into(),
            operation: Operation::Deploy,
            options: How::default(),
        }
    }

    pub(crate) async fn submit(&self, stack: &str) -> DeploymentId {
        self.submit_with(stack, How::default()).await
    }

    pub(crate) async fn submit_with(&self, stack: &str, options: How) -> DeploymentId {
        let request = Submit { options, ..self.request(stack).await };
        deployment::submit(&self.cx, &self.who, request, None).await.unwrap().deployment.id
    }

    pub(crate) async fn claim(&self, queue: Queue) -> Option<(Job, Lease)> {
        self.claim_for(queue, 60_000).await
    }

    pub(crate) async fn claim_for(&self, queue: Queue, lease_ms: i64) -> Option<(Job, Lease)> {
        self.cx.store.claim_job(queue, self.worker, lease_ms, self.cx.now()).await.unwrap()
    }

    /// A deployment whose plan is being made.
    pub(crate) async fn planning(&self, stack: &str) -> (DeploymentId, Job, Lease) {
        let id = self.submit(stack).await;
        let (job, lease) = self.claim(Queue::Plan).await.unwrap();
        assert_eq!(job.deployment_id, id);
        execution::begin(&self.cx, &job, &lease).await.unwrap();
        (id, job, lease)
    }

    /// A deployment that waits for approval, and the digest of its plan.
    pub(crate) async fn planned(&self, stack: &str) -> (DeploymentId, String) {
        self.planned_with(stack, How::default()).await
    }

    pub(crate) async fn planned_with(&self, stack: &str, how: How) -> (DeploymentId, String) {
        let id = self.submit_with(stack, how).await;
        let (job, lease) = self.claim(Queue::Plan).await.unwrap();
        assert_eq!(job.deployment_id, id);
        execution::begin(&self.cx, &job, &lease).await.unwrap();
        let plan = plan_of(self.mark(id).await);
        let ended =
            execution::plan_finished(&self.cx, &job, &lease, plan, &Seen::default()).await.unwrap();
        (id, ended.plan.unwrap().digest)
    }

    /// A deployment whose apply job is queued.
    pub(crate) async fn approved(&self, stack: &str) -> DeploymentId {
        let (id, digest) = self.planned(stack).await;
        deployment::approve(&self.cx, &self.who, id, &digest, None).await.unwrap();
        id
    }

    /// A deployment that is being applied.
    pub(crate) async fn applying(&self, stack: &str) -> (DeploymentId, Job, Lease) {
        let id = self.approved(stack).await;
        let (job, lease) = self.claim(Queue::Apply).await.unwrap();
        assert_eq!(job.deployment_id, id);
        execution::begin(&self.cx, &job, &lease).await.unwrap();
        (id, job, lease)
    }

    /// A deployment whose apply was lost, everything of it collected, and is being found out.
    pub(crate) async fn recovering(&self, stack: &str) -> (DeploymentId, Job, Lease) {
        let (id, lost, lease) = self.applying(stack).await;
        let ending = execution::Ending::Lost { summary: "killed".to_owned() };
        execution::ended(&self.cx, &lost, &lease, ending).await.unwrap();
        recovery::collect(&self.cx, lost.id, lost.epoch, Salvage::default()).await.unwrap();
        let (job, lease, _) = self.begin_recovery(id).await;
        (id, job, lease)
    }

    /// A deployment that waits for approval while its tests run.
    pub(crate) async fn testing(&self, stack: &str) -> (DeploymentId, Job, Lease) {
        self.testing_with(stack, TestSettings::default()).await
    }

    pub(crate) async fn testing_with(
        &self,
        stack: &str,
        settings: TestSettings,
    ) -> (DeploymentId, Job, Lease) {
        let (id, _) = self.planned(stack).await;
        test::request_tests(&self.cx, &self.who, id, settings).await.unwrap();
        let (job, lease) = self.claim(Queue::Test).await.unwrap();
        assert_eq!((job.deployment_id, job.kind), (id, JobKind::Test));
        match execution::begin(&self.cx, &job, &lease).await.unwrap() {
            Begun::Test { .. } => (id, job, lease),
            other => panic!("{other:?}"),
        }
    }

    /// Begins the recovery of a deployment.
    pub(crate) async fn begin_recovery(&self, id: DeploymentId) -> (Job, Lease, Box<RecoverInput>) {
        let (job, lease) = self.claim(Queue::Apply).await.unwrap();
        assert_eq!((job.deployment_id, job.kind), (id, JobKind::Recover));
        match execution::begin(&self.cx, &job, &lease).await.unwrap() {
            Begun::Recover { input, .. } => (job, lease, input),
            other => panic!("{other:?}"),
        }
    }

    /// The current state of the deployment's stack.
    pub(crate) async fn mark(&self, of: DeploymentId) -> StateMark {
        let mut tx = self.cx.store.read().await.unwrap();
        let record = tx.deployment(of).await.unwrap().unwrap();
        tx.stack(record.deployment.stack_id).await.unwrap().unwrap().state_mark()
    }

    pub(crate) async fn get(&self, id: DeploymentId) -> Deployment {
        deployment::get(&self.cx, &self.who, id).await.unwrap()
    }

    /// What the audit log says was done, in order.
    pub(crate) async fn audited(&self) -> Vec<String> {
        let text = "select action from audit order by id";
        match &self.database {
            DatabaseUrl::Sqlite(path) => {
                let path = path.to_string_lossy();
                let mut c = sqlx::SqliteConnection::connect(&path).await.unwrap();
                sqlx::query_scalar(text).fetch_all(&mut c).await.unwrap()
            }
            DatabaseUrl::Postgres(url) => {
                let mut c = sqlx::PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(text).fetch_all(&mut c).await.unwrap()
            }
            DatabaseUrl::Memory => panic!("nobody else can look into it"),
        }
    }

    /// Statements as somebody with the database in hand sends them.
    pub(crate) async fn by_hand(&self, statements: &[String]) {
        for text in statements {
            let text = sqlx::AssertSqlSafe(text.clone());
            match &self.database {
                DatabaseUrl::Sqlite(path) => {
                    let path = path.to_string_lossy();
                    let mut c = sqlx::SqliteConnection::connect(&path).await.unwrap();
                    c.execute(text).await.unwrap();
                }
                DatabaseUrl::Postgres(url) => {
                    let mut c = sqlx::PgConnection::connect(url).await.unwrap();
                    c.execute(text).await.unwrap();
                }
                DatabaseUrl::Memory => panic!("nobody else can look into it"),
            }
        }
    }

    /// The texts of the four columns of one row.
    pub(crate) async fn texts(&self, text: &str) -> [String; 4] {
        let text = sqlx::AssertSqlSafe(text.to_owned());
        let (a, b, c, d): (String, String, String, String) = match &self.database {
            DatabaseUrl::Sqlite(path) => {
                let path = path.to_string_lossy();
                let mut c = sqlx::SqliteConnection::connect(&path).await.unwrap();
                sqlx::query_as(text).fetch_one(&mut c).await.unwrap()
            }
            DatabaseUrl::Postgres(url) => {
                let mut c = sqlx::PgConnection::connect(url).await.unwrap();
                sqlx::query_as(text).fetch_one(&mut c).await.unwrap()
            }
            DatabaseUrl::Memory => panic!("nobody else can look into it"),
        };
        [a, b, c, d]
    }

    pub(crate) async fn jobs(&self, id: DeploymentId) -> Vec<Job> {
        self.cx.store.read().await.unwrap().jobs_of(id).await.unwrap()
    }

    /// What the rows of a deployment say: its events, jobs, recoveries, and the versions of its state.
    pub(crate) async fn dump(&self, id: DeploymentId) -> String {
        let events = event::page(&self.cx, &self.who, id, 0, 1000).await.unwrap();
        let mut tx = self.cx.store.read().await.unwrap();
        let record = tx.deployment(id).await.unwrap().unwrap();
        let states = tx.state_versions(record.deployment.stack_id, None, 100).await.unwrap();
        let recoveries = tx.recoveries(id).await.unwrap();
        let jobs = tx.jobs_of(id).await.unwrap();
        format!("{record:?}\n{events:?}\n{jobs:?}\n{recoveries:?}\n{states:?}")
    }

    /// Checks what must hold of a deployment's events, whatever happened: numbers without holes,
    /// and each change of state begins where the one before it ended.
    pub(crate) async fn check_events(&self, id: DeploymentId) {
        use slipway_domain::event::EventBody;
        use slipway_domain::state::DeploymentState;
        let events = event::page(&self.cx, &self.who, id, 0, 1000).await.unwrap();
        let mut state = DeploymentState::Submitted;
        for (at, event) in events.iter().enumerate() {
            assert_eq!(event.seq, i64::try_from(at).unwrap() + 1, "{events:#?}");
            if let EventBody::StateChanged { from, to, .. } = &event.body {
                assert_eq!(*from, state, "{events:#?}");
                state = *to;
            }
        }
        assert_eq!(state, self.get(id).await.state);
    }
}

pub(crate) fn blob(serial: i64, content: &'static [u8]) -> StateBlob {
    StateBlob {
        mark: StateMark { lineage: "line".into(), serial },
        resource_count: 1,
        content: Bytes::from_static(content),
    }
}

/// A plan of one resource, made against `state`.
pub(crate) fn plan_of(state: StateMark) -> Planned {
    Planned {
        tool: Tool { name: "terraform".to_owned(), version: "1.11.4".to_owned() },
        no_changes: false,
        changes: vec![ResourceChange {
            address: "null_resource.a".to_owned(),
            kind: "null_resource".to_owned(),
            name: "a".to_owned(),
            provider: "registry.terraform.io/hashicorp/null".to_owned(),
            action: Action::Create,
            reason: None,
            before: serde_json::Value::Null,
            after: json!({"password": "***"}),
            unknown: Vec::new(),
            sensitive: vec!["/password".to_owned()],
            replace_paths: Vec::new(),
            previous_address: None,
            deposed: None,
            importing_id: None,
        }],
        outputs: Vec::new(),
        drift: Vec::new(),
        warnings: Vec::new(),
        plan_file: Bytes::from_static(b"plan with hunter2 in it"),
        lock_file_digest: None,
        context: Bytes::from_static(b"context"),
        source_digest: "sha256:0".to_owned(),
        fetched: None,
        state,
        sensitive_variables: BTreeSet::new(),
        current_outputs: Vec::new(),
        document: Bytes::new(),
        equality: None,
    }
}

/// The document of a plan that makes an m5.large in us-east-1.
pub(crate) fn instance_document() -> Bytes {
    serde_json::json!({"format_version": "1.2", "resource_changes": [{
        "address": "aws_instance.a", "mode": "managed", "type": "aws_instance", "name": "a",
        "provider_name": "registry.terraform.io/hashicorp/aws",
        "change": {"actions": ["create"], "before": null, "after_unknown": {},
            "after": {"instance_type": "m5.large"}}}],
        "configuration": {"provider_config": {"aws": {"name": "aws",
            "full_name": "registry.terraform.io/hashicorp/aws",
            "expressions": {"region": {"constant_value": "us-east-1"}}}},
            "root_module": {"resources": [{"address": "aws_instance.a", "mode": "managed",
                "type": "aws_instance", "name": "a", "provider_config_key": "aws",
                "expressions": {"instance_type": {"constant_value": "m5.large"}}}]}}})
    .to_string()
    .into()
}

/// The code of a refusal.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, Fault>) -> slipway_domain::Code {
    result.expect_err("it was to be refused").code
}
