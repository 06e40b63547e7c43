//! One behaviour for both engines: every test here runs on SQLite and on PostgreSQL.
//!
//! PostgreSQL is taken from `SLIPWAY_TEST_POSTGRES_URL` (`./test store` starts one); each test
//! makes a database of its own there.
#![expect(clippy::disallowed_methods, reason = "tests read their rig from the environment")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};
use slipway_domain::access::{Door, Principal, Reach};
use slipway_domain::artifact::ArtifactKind;
use slipway_domain::deployment::{Deployment, Operation, Options as How, Phase, Variables};
use slipway_domain::id::{
    ArtifactId, DeploymentId, JobId, Mint as _, RandomMint, StackId, WorkerId,
};
use slipway_domain::job::{JobKind, JobLimits, JobState, Lease, NewJob, Priority, Queue};
use slipway_domain::log::{LogStream, NewLogLine};
use slipway_domain::page::PageRequest;
use slipway_domain::plan::StateMark;
use slipway_domain::source::Source;
use slipway_domain::stack::{DriverKind, StackKey};
use slipway_domain::state::DeploymentState;
use slipway_domain::state_version::StateOrigin;
use slipway_store::crypto::Keyring;
use slipway_store::deployment::{New, Record};
use slipway_store::idempotency::{Key, Stored};
use slipway_store::state::NewStateVersion;
use slipway_store::{DatabaseUrl, Error, Options, Store};
use sqlx::{Connection as _, Executor as _};

macro_rules! on_both_engines {
    ($($name:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::sqlite().await).await })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::postgres().await).await })*
        }
    };
}

mod approval;
mod audit;
mod auth;
mod backlog;
mod claim;
mod database;
mod deployment;
mod drift;
mod job;
mod moves;
mod policy;
mod project;
mod queue;
mod retention;
mod rotation;
mod run_history;
mod setting;
mod state;
mod submit;
mod template;
mod test_report;

struct Rig {
    store: Store,
    dir: tempfile::TempDir,
    /// URL of the test's own database, on PostgreSQL.
    url: Option<String>,
    /// What its keys are made of.
    ring: String,
}

impl Rig {
    /// The same database, on PostgreSQL, opened once more with one connection.
    async fn opened_again(&self) -> Store {
        let options = Options {
            database: DatabaseUrl::Postgres(self.url.clone().unwrap()),
            max_connections: 1,
            connect_timeout: Duration::from_secs(20),
            artifacts_dir: self.dir.path().join("artifacts"),
            inline_max_bytes: 4096,
        };
        Store::open(&options, Keyring::parse(&self.ring).unwrap()).await.unwrap()
    }
}

async fn open(database: DatabaseUrl, dir: tempfile::TempDir) -> Rig {
    open_with(database, dir, 8).await
}

async fn open_with(database: DatabaseUrl, dir: tempfile::TempDir, max_connections: u32) -> Rig {
    let url = match &database {
        DatabaseUrl::Postgres(url) => Some(url.clone()),
        _ => None,
    };
    let options = Options {
        database,
        max_connections,
        connect_timeout: Duration::from_secs(20),
        artifacts_dir: dir.path().join("artifacts"),
        inline_max_bytes: 4096,
    };
    let ring = Keyring::generate().unwrap();
    let keys = Keyring::parse(&ring).unwrap();
    Rig { store: Store::open(&options, keys).await.unwrap(), dir, url, ring: ring.to_string() }
}

async fn sqlite() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    open(DatabaseUrl::Sqlite(dir.path().join("test.db")), dir).await
}

/// A new database without a schema.
async fn postgres_url() -> DatabaseUrl {
    let url = std::env::var("SLIPWAY_TEST_POSTGRES_URL")
        .expect("SLIPWAY_TEST_POSTGRES_URL is not set; `./test store` starts a PostgreSQL for it");
    let name = format!("t_{}", RandomMint.uuid().simple());
    let mut admin = sqlx::PgConnection::connect(&url).await.unwrap();
    admin.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    admin.close().await.unwrap();
    let (base, _) = url.rsplit_once('/').unwrap();
    DatabaseUrl::Postgres(format!("{base}/{name}"))
}

async fn postgres() -> Rig {
    open(postgres_url().await, tempfile::tempdir().unwrap()).await
}

on_both_engines! {
    artifacts_are_sealed_wherever_they_are_kept,
    an_answer_is_kept_once_and_expires,
    a_loop_has_one_holder_until_its_lease_ends,
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

fn key(name: &str) -> StackKey {
    StackKey { project: "shop".into(), name: name.into(), environment: "dev".into() }
}

/// Puts a submitted deployment of stack `name` in.
async fn deployment(store: &Store, name: &str) -> Record {
    let at = now();
    let mut tx = store.begin().await.unwrap();
    let stack = tx
        .ensure_stacks(&[(StackId::new(&RandomMint), &key(name))], DriverKind::Terraform, at)
        .await
        .unwrap()
        .remove(0)
        .stack;
    let record = Record {
        deployment: Deployment {
            id: DeploymentId::new(&RandomMint),
            stack_id: stack.id,
            stack: stack.key,
            driver: DriverKind::Terraform,
            operation: Operation::Deploy,
            state: DeploymentState::Submitted,
            reason: None,
            source: Source::Template { name: "hello".into(), version: None },
            commit: None,
            variables: [("password".to_owned(), "***".into())].into(),
            options: How::default(),
            plan: None,
            approval: None,
            stale: None,
            approvals: None,
            failure: None,
            cancel_requested_at: None,
            cancel: None,
            phases: vec![Phase { state: DeploymentState::Submitted, entered_at: at }],
            submitted_by: Principal::local(Door::Rest).actor,
            trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
            created_at: at,
            updated_at: at,
            ended_at: None,
            expires_at: None,
            waiting: None,
        },
        source_artifact: None,
        source_root: Some("env/dev".into()),
        approval_before: None,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        version: 1,
    };
    let secret: Variables = [("password".to_owned(), "hunter2".into())].into();
    tx.insert_deployments(&[New { record: &record, variables: &secret, events: &[] }])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    record
}

fn new_job(of: &Record, kind: JobKind, delay_s: u32) -> NewJob {
    let id = JobId::new(&RandomMint);
    NewJob {
        id,
        kind,
        deployment_id: of.deployment.id,
        stack_id: of.deployment.stack_id,
        project: "shop".into(),
        delay_s,
        priority: Priority::Normal,
        idempotency_key: id.to_string(),
        concurrency_key: (kind == JobKind::Apply).then(|| of.deployment.stack_id.to_string()),
        traceparent: None,
        limits: JobLimits { max_attempts: 3, soft_limit_s: 10, hard_limit_s: 20 },
    }
}

async fn put(store: &Store, new: &NewJob) -> JobId {
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.insert_jobs(std::slice::from_ref(new), now()).await.unwrap(), 1);
    tx.commit().await.unwrap();
    new.id
}

async fn job(store: &Store, of: &Record, kind: JobKind, delay_s: u32) -> JobId {
    put(store, &new_job(of, kind, delay_s)).await
}

async fn claim(store: &Store, queue: Queue, worker: WorkerId, ms: i64) -> Option<Lease> {
    match store.claim_job(queue, worker, ms, now()).await {
        Ok(claimed) => claimed.map(|(_, lease)| lease),
        Err(Error::Changed) => None,
        Err(error) => panic!("{error:?}"),
    }
}

fn worker() -> WorkerId {
    WorkerId::new(&RandomMint)
}

async fn artifacts_are_sealed_wherever_they_are_kept(rig: Rig) {
    let small = b"secret-in-a-row".to_vec();
    let large = b"secret-in-an-object ".repeat(1000);
    for content in [small, large] {
        let id = ArtifactId::new(&RandomMint);
        let sealed =
            rig.store.seal_artifact(id, ArtifactKind::State, &content, now()).await.unwrap();
        assert!(rig.store.open_artifact(id).await.unwrap().is_none(), "not before the commit");
        let twin = ArtifactId::new(&RandomMint);
        let kind = ArtifactKind::PlanFile;
        let discarded = rig.store.seal_artifact(twin, kind, &content, now()).await.unwrap();
        rig.store.discard_artifact(discarded).await;
        let mut tx = rig.store.begin().await.unwrap();
        tx.insert_artifact(&sealed).await.unwrap();
        tx.commit().await.unwrap();
        let (artifact, back) = rig.store.open_artifact(id).await.unwrap().unwrap();
        assert_eq!(back.as_ref(), content);
        assert_eq!(artifact, sealed.artifact);
        assert_eq!(artifact.size_bytes, content.len() as u64);
    }
    let mut files = Vec::new();
    let mut todo = vec![rig.dir.path().to_owned()];
    while let Some(dir) = todo.pop() {
        for item in std::fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() { todo.push(path) } else { files.push(path) }
        }
    }
    assert!(files.iter().any(|f| f.to_string_lossy().contains("artifacts/state")), "{files:?}");
    let discarded = files.iter().any(|f| f.to_string_lossy().contains("artifacts/plan_file"));
    assert!(!discarded, "{files:?}");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(9).any(|w| w == b"secret-in"), "{} is in clear", file.display());
    }
}

async fn an_answer_is_kept_once_and_expires(rig: Rig) {
    let key = Key { principal: "p".into(), operation: "o".into(), key: "k".into() };
    let stored = |answer: &str| Stored { request_hash: "h".into(), answer: answer.into() };
    let at = now();
    let until = at + chrono::Duration::hours(1);
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.keep_answers(&[(&key, stored("1"))], at, until).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let mut tx = rig.store.begin().await.unwrap();
    let fresh = Key { key: "fresh".into(), ..key.clone() };
    let both = [(&key, stored("2")), (&fresh, stored("new"))];
    assert_eq!(tx.keep_answers(&both, at, until).await.unwrap(), 1);
    assert_eq!(tx.idempotent_answer(&key, at).await.unwrap().unwrap(), stored("1"));
    assert_eq!(tx.idempotent_answer(&fresh, at).await.unwrap().unwrap(), stored("new"));
    assert!(tx.idempotent_answer(&key, until).await.unwrap().is_none());
    let later = until + chrono::Duration::hours(1);
    assert_eq!(tx.keep_answers(&[(&key, stored("3"))], until, later).await.unwrap(), 1);
    assert_eq!(tx.idempotent_answer(&key, until).await.unwrap().unwrap(), stored("3"));
    let other = Key { principal: "q".into(), ..key };
    assert!(tx.idempotent_answer(&other, at).await.unwrap().is_none());
}

async fn a_loop_has_one_holder_until_its_lease_ends(rig: Rig) {
    let (a, b) = (worker(), worker());
    let take = |holder, ms| {
        let store = rig.store.clone();
        async move { store.take_loop_lease("reap", holder, ms).await.unwrap() }
    };
    assert!(take(a, 60_000).await);
    assert!(!take(b, 60_000).await);
    assert!(take(a, 1).await, "the holder renews");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(take(b, 60_000).await, "it has run out");
    assert!(!take(a, 60_000).await);
    let mut tx = rig.store.begin().await.unwrap();
    tx.drop_loop_lease("reap", b).await.unwrap();
    tx.commit().await.unwrap();
    assert!(take(a, 60_000).await);
}
