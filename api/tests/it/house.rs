//! A house to knock at: the router over a store in memory, and a worker's work done by hand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use bytes::Bytes;
use chrono::DateTime;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use slipway_api::{ApiOptions, ApiState, AuthMode};
use slipway_domain::approval::ApprovalRules;
use slipway_domain::clock::FixedClock;
use slipway_domain::deployment::{Deployment, Output, Variables};
use slipway_domain::fault::FieldError;
use slipway_domain::gate_settings::GateSettings;
use slipway_domain::id::{Mint, WorkerId};
use slipway_domain::job::{Job, JobLimits, Lease, Queue};
use slipway_domain::log::{LogStream, NewLogLine};
use slipway_domain::plan::{Action, OutputChange, ResourceChange, StateMark, Tool};
use slipway_domain::port::driver::{Applied, Health, Inspect, Inspection, Planned};
use slipway_domain::run_history::Measure;
use slipway_domain::stack::DriverKind;
use slipway_domain::template::InputSpec;
use slipway_domain::tree::{Limits, Tree};
use slipway_queue::Embedded;
use slipway_services::auth::AuthSettings;
use slipway_services::gate::Seen;
use slipway_services::{Ctx, Library, Settings, execution, run_history};
use slipway_store::crypto::Keyring;
use slipway_store::{DatabaseUrl, Options, Store};
use slipway_telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Ids that grow one by one, so that answers can be compared.
#[derive(Debug, Default)]
struct Numbered(AtomicU64);

impl Mint for Numbered {
    fn uuid(&self) -> uuid::Uuid {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        uuid::Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + u128::from(number))
    }
}

/// Reads just enough of HCL for these tests: `variable "name" {}` with `# required` and
/// `# sensitive` on its line; a line with `!!` does not parse. A variable `panic` makes it panic.
struct Lines;

impl Inspect for Lines {
    fn kind(&self) -> DriverKind {
        DriverKind::Terraform
    }

    fn inspect(&self, tree: &Tree, root: Option<&str>) -> Result<Inspection, Vec<FieldError>> {
        let file = root.map_or("main.tf".to_owned(), |root| format!("{root}/main.tf"));
        let Some(content) = tree.file(&file) else {
            // The built-in templates are not the subject here.
            return Ok(Inspection { inputs: Vec::new() });
        };
        let text = String::from_utf8_lossy(content).into_owned();
        if let Some(at) = text.lines().position(|line| line.contains("!!")) {
            return Err(vec![FieldError {
                file: Some(file),
                line: Some(u32::try_from(at).unwrap() + 1),
                column: Some(1),
                ..FieldError::at("/source", "unexpected `!!`")
            }]);
        }
        let inputs = text.lines().filter_map(|line| {
            let name = line.strip_prefix("variable \"")?.split('"').next()?;
            Some(InputSpec {
                name: name.to_owned(),
                kind: "string".to_owned(),
                description: None,
                required: line.contains("# required"),
                default: None,
                sensitive: line.contains("# sensitive"),
                nullable: true,
                constraints: Vec::new(),
            })
        });
        Ok(Inspection { inputs: inputs.collect() })
    }

    fn check(&self, inspection: &Inspection, variables: &Variables) -> Vec<FieldError> {
        assert!(!variables.contains_key("panic"), "the cause of it");
        let known: BTreeSet<_> = inspection.inputs.iter().map(|i| i.name.as_str()).collect();
        let unknown = variables.keys().filter(|name| !known.contains(name.as_str())).map(|name| {
            FieldError::at(format!("/variables/{name}"), format!("there is no variable {name}"))
        });
        let missing = inspection
            .inputs
            .iter()
            .filter(|input| input.required && !variables.contains_key(&input.name))
            .map(|input| {
                FieldError::at(format!("/variables/{}", input.name), "a value is required")
            });
        unknown.chain(missing).collect()
    }

    fn render(&self, variables: &Variables) -> String {
        let lines = variables.iter().map(|(name, value)| format!("{name} = {value}\n"));
        lines.collect()
    }
}

/// The template of these tests.
const TEMPLATE: &str = "variable \"region\" {} # required\nvariable \"password\" {} # sensitive\n";

pub(crate) struct House {
    pub(crate) app: Router,
    pub(crate) cx: Ctx,
    pub(crate) state: ApiState,
    pub(crate) clock: Arc<FixedClock>,
    _dir: tempfile::TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a problem of this status and code.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("/problems/{code}"));
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        problem
    }

    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(ApiOptions::default()).await
    }

    pub(crate) async fn with(options: ApiOptions) -> Self {
        Self::build(options, ApprovalRules::default(), AuthSettings::default()).await
    }

    /// A house whose callers must say who they are.
    pub(crate) async fn asking_who(auth: AuthSettings) -> Self {
        let stream_check = Duration::from_millis(50);
        let options =
            ApiOptions { auth: AuthMode::Required, stream_check, ..ApiOptions::default() };
        Self::build(options, ApprovalRules::default(), auth).await
    }

    /// A house with rules of approval.
    pub(crate) async fn asking(approvals: ApprovalRules) -> Self {
        Self::build(ApiOptions::default(), approvals, AuthSettings::default()).await
    }

    async fn build(options: ApiOptions, approvals: ApprovalRules, auth: AuthSettings) -> Self {
        let start = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let clock = Arc::new(FixedClock::new(start));
        let dir = tempfile::tempdir().unwrap();
        let tiny = dir.path().join("templates/tiny");
        std::fs::create_dir_all(&tiny).unwrap();
        std::fs::write(tiny.join("main.tf"), TEMPLATE).unwrap();
        let manifest = "title = \"Tiny\"\ndescription = \"For tests.\"\n";
        std::fs::write(tiny.join("template.toml"), manifest).unwrap();
        let store = Store::open(
            &Options {
                database: DatabaseUrl::Memory,
                max_connections: 4,
                connect_timeout: Duration::from_secs(5),
                artifacts_dir: dir.path().join("artifacts"),
                inline_max_bytes: 1 << 20,
            },
            Keyring::parse(&Keyring::generate().unwrap()).unwrap(),
        )
        .await
        .unwrap();
        let limits = Limits { total_bytes: 1 << 20, entries: 100 };
        let job = JobLimits { max_attempts: 3, soft_limit_s: 60, hard_limit_s: 120 };
        let library = Library::load(&Lines, Some(&dir.path().join("templates")), limits).unwrap();
        let cx = Ctx {
            store,
            transport: Arc::new(Embedded::default()),
            clock: clock.clone(),
            mint: Arc::new(Numbered::default()),
            inspector: Arc::new(Lines),
            templates: Arc::new(library),
            settings: Arc::new(Settings {
                source_limits: limits,
                directory_root: None,
                git_allow_file: false,
                git_allow_http: false,
                // Policies have tests of their own.
                gates: GateSettings {
                    approval: Some(approvals),
                    policy: Some(slipway_domain::policy::PolicySettings {
                        packs: Vec::new(),
                        ..Default::default()
                    }),
                    ..GateSettings::default()
                },
                plan_limits: job,
                test_limits: job,
                apply_limits: job,
                adaptive_limits: false,
                drift: slipway_domain::drift::schedule::Schedule::default(),
                idempotency_ttl: chrono::Duration::hours(24),
                recovery_grace: chrono::Duration::seconds(2),
                log_retention: chrono::Duration::days(30),
                auth,
            }),
            gathered: Arc::default(),
        };
        let shutdown = CancellationToken::new();
        let state = ApiState::new(cx.clone(), Metrics::new("test").unwrap(), options, shutdown);
        state.set_ready();
        Self { app: slipway_api::router(state.clone()), cx, state, clock, _dir: dir }
    }

    /// Sends a request and reads all of the answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.open(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request and leaves the answer's body open.
    pub(crate) async fn open(&self, mut request: Request<Body>) -> axum::response::Response {
        request
            .headers_mut()
            .entry(header::HOST)
            .or_insert(header::HeaderValue::from_static("localhost:8000"));
        self.app.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(posted(path, body)).await
    }

    pub(crate) async fn request(&self, method: &str, path: &str) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
    }

    /// Submits the test template; returns the deployment.
    pub(crate) async fn submit(&self, options: Value) -> Value {
        let mut body = submission();
        body["options"] = options;
        self.post("/api/v1/deployments", &body).await.ok(202)
    }

    async fn claim(&self, queue: Queue) -> (Job, Lease) {
        let worker = WorkerId::new(&*self.cx.mint);
        let claimed = self.cx.store.claim_job(queue, worker, 60_000, self.cx.now()).await;
        claimed.unwrap().expect("there is a job")
    }

    /// Plays workers that fail for a passing reason until the job's attempts are used up.
    pub(crate) async fn die(&self, queue: Queue) {
        for _ in 0..3 {
            let (job, lease) = self.claim(queue).await;
            execution::begin(&self.cx, &job, &lease).await.unwrap();
            let error = "the registry is away".to_owned();
            let ending = execution::Ending::Retry { error, delay_ms: 0 };
            execution::ended(&self.cx, &job, &lease, ending).await.unwrap();
        }
    }

    /// Plays a worker that makes a plan of one resource.
    pub(crate) async fn plan(&self) -> Deployment {
        let (job, lease) = self.claim(Queue::Plan).await;
        execution::begin(&self.cx, &job, &lease).await.unwrap();
        let lines: Vec<_> = (1..=3).map(|n| self.line("plan", &format!("line {n}"))).collect();
        execution::append(&self.cx, &lease, job.deployment_id, &lines, &[]).await.unwrap();
        let planned = execution::plan_finished(&self.cx, &job, &lease, planned(), &Seen::default())
            .await
            .unwrap();
        let measure = Measure { wall_ms: 1500, peak_rss_bytes: Some(64 << 20) };
        run_history::record(&self.cx, &job, measure).await.unwrap();
        planned
    }

    /// Plays a worker that has begun to apply it.
    pub(crate) async fn begin_apply(&self) {
        let (job, lease) = self.claim(Queue::Apply).await;
        execution::begin(&self.cx, &job, &lease).await.unwrap();
    }

    /// Plays a worker that applies it.
    pub(crate) async fn apply(&self) -> Deployment {
        let (job, lease) = self.claim(Queue::Apply).await;
        execution::begin(&self.cx, &job, &lease).await.unwrap();
        let lines = [self.line("apply", "Apply complete!")];
        execution::append(&self.cx, &lease, job.deployment_id, &lines, &[]).await.unwrap();
        let output = |name: &str, value: Value, sensitive| Output {
            name: name.to_owned(),
            value,
            sensitive,
            kind: json!("string"),
        };
        let outputs =
            vec![output("url", json!("http://x"), false), output("key", json!("s3cret"), true)];
        let applied = Applied { outputs, state: StateMark::default() };
        execution::apply_finished(&self.cx, &job, &lease, &applied).await.unwrap();
        execution::verified(&self.cx, &job, &lease, Health::Healthy).await.unwrap()
    }

    fn line(&self, step: &str, text: &str) -> NewLogLine {
        NewLogLine {
            at: self.cx.now(),
            stream: LogStream::Stdout,
            step: step.to_owned(),
            text: text.to_owned(),
        }
    }
}

pub(crate) fn posted(path: &str, body: &Value) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// A submission of the test template.
pub(crate) fn submission() -> Value {
    json!({
        "stack": {"project": "shop", "name": "network", "environment": "dev"},
        "source": {"type": "template", "name": "tiny"},
        "variables": {"region": "eu-1", "password": "hunter2"},
    })
}

pub(crate) fn path(deployment: &Value) -> String {
    format!("/api/v1/deployments/{}", deployment["id"].as_str().unwrap())
}

fn tool() -> Tool {
    Tool { name: "terraform".to_owned(), version: "1.11.4".to_owned() }
}

fn planned() -> Planned {
    Planned {
        tool: tool(),
        no_changes: false,
        changes: vec![ResourceChange {
            address: "null_resource.a".to_owned(),
            kind: "null_resource".to_owned(),
            name: "a".to_owned(),
            provider: "registry.terraform.io/hashicorp/null".to_owned(),
            action: Action::Create,
            reason: None,
            before: Value::Null,
            after: json!({"password": "***", "region": "eu-1"}),
            unknown: vec!["/id".to_owned()],
            sensitive: vec!["/password".to_owned()],
            replace_paths: Vec::new(),
            previous_address: None,
            deposed: None,
            importing_id: None,
        }],
        outputs: vec![OutputChange {
            name: "url".to_owned(),
            action: Action::Create,
            before: Value::Null,
            after: Value::Null,
            unknown: true,
            sensitive: false,
        }],
        drift: Vec::new(),
        warnings: Vec::new(),
        plan_file: Bytes::from_static(b"plan"),
        lock_file_digest: None,
        context: Bytes::from_static(b"context"),
        source_digest: "sha256:0".to_owned(),
        fetched: None,
        state: StateMark::default(),
        sensitive_variables: BTreeSet::from(["password".to_owned()]),
        current_outputs: Vec::new(),
        document: Bytes::new(),
        equality: None,
    }
}

/// A `tar.gz` of these files.
pub(crate) fn archive(files: &[(&str, &str)]) -> Bytes {
    let mut tree = Tree::new();
    for (path, content) in files {
        tree.add_file(path, content.as_bytes().to_vec(), false).unwrap();
    }
    tree.to_tar_gz().unwrap()
}
