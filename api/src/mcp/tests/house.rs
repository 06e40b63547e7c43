//! A house with the door open, a store in memory, and a worker that does what a test says.

use std::sync::Arc;

use axum::Extension;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use slipway_domain::access::Principal;
use slipway_domain::clock::{Clock as _, FixedClock};
use slipway_domain::deployment::{Output, Variables};
use slipway_domain::event::EventBody;
use slipway_domain::fault::FieldError;
use slipway_domain::id::{DeploymentId, RandomMint, WorkerId};
use slipway_domain::job::{Job, JobLimits, Lease, Queue};
use slipway_domain::log::{LogStream, NewLogLine};
use slipway_domain::plan::{Action, Diagnostic, ResourceChange, StateMark, Tool};
use slipway_domain::port::driver::{Applied, Health, Inspect, Inspection, Planned};
use slipway_domain::stack::DriverKind;
use slipway_domain::template::InputSpec;
use slipway_domain::tree::{Limits, Tree};
use slipway_queue::Embedded;
use slipway_services::execution::{self, Ending};
use slipway_services::gate::Seen;
use slipway_services::{Ctx, Library, Settings};
use slipway_store::crypto::Keyring;
use slipway_store::{DatabaseUrl, Options, Store};
use slipway_telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::{ApiOptions, ApiState};

/// Every configuration has the inputs `name` (required) and `password` (sensitive).
struct OneKind;

fn input(name: &str, required: bool, sensitive: bool) -> InputSpec {
    InputSpec {
        name: name.to_owned(),
        kind: "string".to_owned(),
        description: None,
        required,
        default: None,
        sensitive,
        nullable: false,
        constraints: Vec::new(),
    }
}

impl Inspect for OneKind {
    fn kind(&self) -> DriverKind {
        DriverKind::Terraform
    }

    fn inspect(&self, _: &Tree, _: Option<&str>) -> Result<Inspection, Vec<FieldError>> {
        Ok(Inspection { inputs: vec![input("name", true, false), input("password", false, true)] })
    }

    fn check(&self, inspection: &Inspection, variables: &Variables) -> Vec<FieldError> {
        let unknown = variables
            .keys()
            .filter(|name| !inspection.inputs.iter().any(|input| input.name == **name))
            .map(|name| FieldError::at(format!("/variables/{name}"), "there is no such variable"));
        let missing = inspection
            .inputs
            .iter()
            .filter(|input| input.required && !variables.contains_key(&input.name))
            .map(|input| FieldError::at(format!("/variables/{}", input.name), "it is required"));
        unknown.chain(missing).collect()
    }

    fn render(&self, variables: &Variables) -> String {
        let lines = variables.iter().map(|(name, value)| format!("{name} = {value}\n"));
        lines.collect()
    }
}

/// The house.
pub(super) struct House {
    pub(super) cx: Ctx,
    pub(super) clock: Arc<FixedClock>,
    pub(super) shutdown: CancellationToken,
    worker: WorkerId,
    _dir: tempfile::TempDir,
}

impl House {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let template = dir.path().join("templates/hello");
        std::fs::create_dir_all(&template).unwrap();
        let manifest = "title = \"Hello\"\ndescription = \"Says hello.\"\n";
        std::fs::write(template.join("template.toml"), manifest).unwrap();
        std::fs::write(template.join("main.tf"), "variable \"name\" {}\n").unwrap();
        let options = Options {
            database: DatabaseUrl::Memory,
            max_connections: 4,
            connect_timeout: std::time::Duration::from_secs(5),
            artifacts_dir: dir.path().join("artifacts"),
            inline_max_bytes: 1 << 20,
        };
        let keys = Keyring::parse(&Keyring::generate().unwrap()).unwrap();
        let store = Store::open(&options, keys).await.unwrap();
        let at: DateTime<Utc> = "2026-08-01T12:00:00Z".parse().unwrap();
        let clock = Arc::new(FixedClock::new(at));
        let limits = JobLimits { max_attempts: 3, soft_limit_s: 60, hard_limit_s: 90 };
        let extra = dir.path().join("templates");
        let library = Library::load(&OneKind, Some(&extra), Limits::default()).unwrap();
        let cx = Ctx {
            store,
            transport: Arc::new(Embedded::default()),
            clock: clock.clone(),
            mint: Arc::new(RandomMint),
            inspector: Arc::new(OneKind),
            templates: Arc::new(library),
            settings: Arc::new(Settings {
                source_limits: Limits::default(),
                directory_root: None,
                git_allow_file: false,
                git_allow_http: false,
                // Policies have tests of their own.
                gates: slipway_domain::gate_settings::GateSettings {
                    policy: Some(slipway_domain::policy::PolicySettings {
                        packs: Vec::new(),
                        ..Default::default()
                    }),
                    ..Default::default()
                },
                plan_limits: limits,
                test_limits: limits,
                apply_limits: limits,
                adaptive_limits: false,
                drift: slipway_domain::drift::schedule::Schedule::default(),
                idempotency_ttl: chrono::Duration::hours(1),
                recovery_grace: chrono::Duration::seconds(2),
                log_retention: chrono::Duration::days(1),
                auth: slipway_services::auth::AuthSettings::default(),
            }),
            gathered: Arc::default(),
        };
        Self {
            worker: WorkerId::new(&RandomMint),
            shutdown: CancellationToken::new(),
            cx,
            clock,
            _dir: dir,
        }
    }

    /// Opens the door and gives its URL. Every call is another replica of the same installation.
    pub(super) async fn open(&self) -> String {
        self.open_as(None).await
    }

    /// Opens the door for one caller.
    pub(super) async fn open_as(&self, who: Option<Principal>) -> String {
        let options = ApiOptions { max_body_bytes: 256 << 10, ..ApiOptions::default() };
        self.open_with(options, who).await
    }

    /// Opens the door with these options.
    pub(super) async fn open_with(&self, options: ApiOptions, who: Option<Principal>) -> String {
        let metrics = Metrics::new("0.0.0-test").unwrap();
        let state = ApiState::new(self.cx.clone(), metrics, options, self.shutdown.clone());
        let door = crate::mcp::router(state, self.shutdown.clone());
        let mut router = axum::Router::new().nest_service("/mcp", door);
        if let Some(who) = who {
            router = router.layer(Extension(who));
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    async fn claim(&self, queue: Queue) -> (Job, Lease) {
        let claimed = self.cx.store.claim_job(queue, self.worker, 60_000, self.cx.now()).await;
        claimed.unwrap().expect("there is a job")
    }

    /// Works on the next plan job, and finds these changes.
    pub(super) async fn plan(&self, changes: Vec<ResourceChange>) {
        let (job, lease) = self.claim(Queue::Plan).await;
        execution::begin(&self.cx, &job, &lease).await.unwrap();
        let planned = Planned {
            tool: Tool { name: "terraform".to_owned(), version: "1.11.4".to_owned() },
            no_changes: changes.is_empty(),
            changes,
            outputs: Vec::new(),
            drift: Vec::new(),
            warnings: Vec::new(),
            plan_file: Bytes::from_static(b"plan"),
            lock_file_digest: None,
            context: Bytes::from_static(b"context"),
            source_digest: "sha256:0".to_owned(),
            fetched: None,
            state: StateMark::default(),
            sensitive_variables: ["password".to_owned()].into(),
            current_outputs: Vec::new(),
            document: Bytes::new(),
            equality: None,
        };
        execution::plan_finished(&self.cx, &job, &lease, planned, &Seen::default()).await.unwrap();
    }

    /// Begins the next plan job, and says so many steps of it.
    pub(super) async fn say_steps(&self, count: usize) {
        let (job, lease) = self.claim(Queue::Plan).await;
        execution::begin(&self.cx, &job, &lease).await.unwrap();
        let step = EventBody::Step { step: "x".repeat(180), detail: None };
        for _ in 0..count.div_ceil(500) {
            let steps = vec![step.clone(); 500];
            execution::append(&self.cx, &lease, job.deployment_id, &[], &steps).await.unwrap();
        }
    }

    /// Begins the next plan job and fails it.
    pub(super) async fn fail_plan(&self, diagnostics: Vec<Diagnostic>) {
        let (job, lease) = self.claim(Queue::Plan).await;
        execution::begin(&self.cx, &job, &lease).await.unwrap();
        let ending = Ending::Failed { summary: "terraform plan failed".to_owned(), diagnostics };
        execution::ended(&self.cx, &job, &lease, ending).await.unwrap();
    }

    /// Works on the next apply job until it has succeeded.
    pub(super) async fn apply(&self, outputs: Vec<Output>) {
        let (job, lease) = self.claim(Queue::Apply).await;
        execution::begin(&self.cx, &job, &lease).await.unwrap();
        let step = EventBody::Step { step: "apply".to_owned(), detail: None };
        execution::append(&self.cx, &lease, job.deployment_id, &[], &[step]).await.unwrap();
        let applied = Applied { outputs, state: StateMark::default() };
        execution::apply_finished(&self.cx, &job, &lease, &applied).await.unwrap();
        execution::verified(&self.cx, &job, &lease, Health::Healthy).await.unwrap();
    }

    /// Adds lines to the log of a deployment.
    pub(super) async fn log(&self, of: &str, lines: impl IntoIterator<Item = String>) {
        let of: DeploymentId = of.parse().unwrap();
        let lines: Vec<_> = lines
            .into_iter()
            .map(|text| NewLogLine {
                at: self.clock.now(),
                stream: LogStream::Stdout,
                step: "plan".to_owned(),
                text,
            })
            .collect();
        let mut tx = self.cx.store.begin().await.unwrap();
        tx.append_log(of, &lines).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// `n` resources to create.
pub(super) fn creates(n: usize) -> Vec<ResourceChange> {
    (0..n).map(|i| change(&format!("aws_instance.web[{i}]"), Action::Create)).collect()
}

/// One change of a resource with attributes.
pub(super) fn change(address: &str, action: Action) -> ResourceChange {
    let after = match action {
        Action::Delete => Value::Null,
        _ => json!({"ami": "ami-0123456789", "instance_type": "t3.micro", "tags": {"a": "b"}}),
    };
    let before = match action {
        Action::Create => Value::Null,
        _ => json!({"ami": "ami-9876543210", "instance_type": "t3.micro"}),
    };
    ResourceChange {
        address: address.to_owned(),
        kind: "aws_instance".to_owned(),
        name: "web".to_owned(),
        provider: "registry.terraform.io/hashicorp/aws".to_owned(),
        action,
        reason: None,
        before,
        after,
        unknown: vec!["/id".to_owned()],
        sensitive: Vec::new(),
        replace_paths: match action {
            Action::DeleteThenCreate => vec!["/ami".to_owned()],
            _ => Vec::new(),
        },
        previous_address: None,
        deposed: None,
        importing_id: None,
    }
}

/// Arguments that submit the template.
pub(super) fn submission() -> Value {
    json!({
        "stack": {"project": "shop", "name": "web", "environment": "dev"},
        "source": {"type": "template", "name": "hello"},
        "variables": {"name": "world"},
    })
}
