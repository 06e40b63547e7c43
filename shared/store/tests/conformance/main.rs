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
use slipway_domain::deployment::{Deployment, Operation, Options as How, Output, Phase, Variables};
use slipway_domain::event::EventBody;
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
use slipway_store::deployment::{Filter, New, Record};
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
mod drift;
mod policy;
mod project;
mod queue;
mod rotation;
mod run_history;
mod setting;
mod state;
mod template;
mod test_report;

struct Rig {
    store: Store,
    dir: tempfile::TempDir,
    /// URL of the test's own database, on PostgreSQL.
    url: Option<String>,
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
    let keys = Keyring::parse(&Keyring::generate().unwrap()).unwrap();
    Rig { store: Store::open(&options, keys).await.unwrap(), dir, url }
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
    a_deployment_comes_back_as_it_was_put_in,
    a_change_made_from_an_older_row_is_refused,
    events_and_log_lines_are_numbered_without_holes_under_concurrency,
    a_job_has_one_holder_and_claims_follow_its_due_time,
    jobs_with_one_key_run_one_at_a_time,
    a_stale_epoch_writes_nothing,
    an_expired_lease_is_found_once_and_a_living_one_is_not,
    a_heartbeat_extends_and_brings_the_request_to_stop,
    a_job_that_its_worker_let_fall_runs_out,
    an_upload_that_is_being_named_is_not_swept,
    a_long_log_is_swept_whole,
    a_job_handed_back_keeps_its_attempts,
    cancelling_ends_queued_jobs_and_marks_running_ones,
    doorbells_are_owed_again_after_a_while,
    a_queued_job_knows_its_place_and_who_holds_it_up,
    artifacts_are_sealed_wherever_they_are_kept,
    a_state_version_must_follow_the_one_before,
    an_answer_is_kept_once_and_expires,
    pages_follow_each_other_without_gap_or_repeat,
    a_loop_has_one_holder_until_its_lease_ends,
    a_sweep_removes_what_is_past_its_time_only,
    two_processes_may_open_the_same_database_at_once,
    keys_that_do_not_fit_are_noticed_and_looking_changes_nothing,
    hostile_text_is_kept_as_it_is,
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

async fn a_deployment_comes_back_as_it_was_put_in(rig: Rig) {
    let put = deployment(&rig.store, "net").await;
    let id = put.deployment.id;
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.deployment(id).await.unwrap().unwrap(), put);
    assert_eq!(tx.variables(id).await.unwrap()["password"], "hunter2");
    assert_eq!(tx.outputs(id).await.unwrap(), None);
    assert!(tx.deployment(DeploymentId::new(&RandomMint)).await.unwrap().is_none());
    drop(tx);
    let outputs = [Output {
        name: "url".into(),
        value: "http://x".into(),
        sensitive: true,
        kind: "string".into(),
    }];
    let mut tx = rig.store.begin().await.unwrap();
    tx.set_outputs(id, &outputs).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.outputs(id).await.unwrap().unwrap(), outputs);
}

async fn a_change_made_from_an_older_row_is_refused(rig: Rig) {
    let mut first = deployment(&rig.store, "net").await;
    let mut second = first.clone();
    let from = DeploymentState::Submitted;
    first.deployment.state = DeploymentState::Planning;
    let mut tx = rig.store.begin().await.unwrap();
    tx.update_deployment(&mut first, from, &[]).await.unwrap();
    tx.commit().await.unwrap();
    second.deployment.state = DeploymentState::Cancelled;
    let mut tx = rig.store.begin().await.unwrap();
    let refused = tx.update_deployment(&mut second, from, &[]).await.unwrap_err();
    assert!(matches!(refused, Error::Changed), "{refused}");
    drop(tx);
    let mut tx = rig.store.read().await.unwrap();
    let kept = tx.deployment(first.deployment.id).await.unwrap().unwrap();
    assert_eq!((kept.deployment.state, kept.version), (DeploymentState::Planning, 2));
}

async fn events_and_log_lines_are_numbered_without_holes_under_concurrency(rig: Rig) {
    let id = deployment(&rig.store, "net").await.deployment.id;
    let writers = (0..4).map(|writer| {
        let store = rig.store.clone();
        async move {
            for round in 0..10 {
                let step = format!("{writer}-{round}");
                let event = EventBody::Step { step: step.clone(), detail: None };
                let line =
                    NewLogLine { at: now(), stream: LogStream::Stdout, step, text: "x".into() };
                let mut tx = store.begin().await.unwrap();
                tx.append_events(id, &[event.clone(), event], now()).await.unwrap();
                tx.append_log(id, &[line]).await.unwrap();
                if round % 3 == 0 {
                    tx.rollback().await.unwrap();
                } else {
                    tx.commit().await.unwrap();
                }
            }
        }
    });
    futures::future::join_all(writers).await;
    let mut tx = rig.store.read().await.unwrap();
    let seqs: Vec<_> = tx.events(id, 0, 1000).await.unwrap().iter().map(|e| e.seq).collect();
    assert_eq!(seqs, (1..=48).collect::<Vec<i64>>(), "four writers, six rounds kept, two each");
    let lines = tx.log_lines(id, 0, 1000).await.unwrap();
    assert_eq!(lines.iter().map(|l| l.seq).collect::<Vec<_>>(), (1..=24).collect::<Vec<i64>>());
    assert_eq!(tx.last_log_seq(id).await.unwrap(), 24);
    assert_eq!(tx.events(id, 40, 3).await.unwrap()[0].seq, 41);
}

async fn a_job_has_one_holder_and_claims_follow_its_due_time(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let later = job(&rig.store, &record, JobKind::Plan, 3600).await;
    let ids = [
        job(&rig.store, &record, JobKind::Plan, 0).await,
        job(&rig.store, &record, JobKind::Plan, 0).await,
        job(&rig.store, &record, JobKind::Plan, 0).await,
    ];
    let claims = (0..8).map(|_| {
        let store = rig.store.clone();
        async move { claim(&store, Queue::Plan, worker(), 60_000).await }
    });
    let mut got: Vec<_> =
        futures::future::join_all(claims).await.into_iter().flatten().map(|l| l.job_id).collect();
    got.sort_unstable();
    let mut wanted = ids.to_vec();
    wanted.sort_unstable();
    assert_eq!(got, wanted, "every due job once, and not the one for later");
    assert!(claim(&rig.store, Queue::Apply, worker(), 60_000).await.is_none());
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.job(later).await.unwrap().unwrap().state, JobState::Queued);
}

async fn jobs_with_one_key_run_one_at_a_time(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let other = deployment(&rig.store, "db").await;
    job(&rig.store, &record, JobKind::Apply, 0).await;
    job(&rig.store, &record, JobKind::Apply, 0).await;
    job(&rig.store, &other, JobKind::Apply, 0).await;
    let claims = (0..6).map(|_| {
        let store = rig.store.clone();
        async move { claim(&store, Queue::Apply, worker(), 60_000).await }
    });
    let mut got: Vec<_> = futures::future::join_all(claims).await.into_iter().flatten().collect();
    // Two that reach for the same key at the same moment may both go away with nothing.
    while let Some(lease) = claim(&rig.store, Queue::Apply, worker(), 60_000).await {
        got.push(lease);
    }
    assert_eq!(got.len(), 2, "one of each stack: {got:?}");
    let mut tx = rig.store.begin().await.unwrap();
    for lease in got {
        tx.fence(&lease).await.unwrap();
        tx.end_job(lease.job_id, JobState::Succeeded, None, now()).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert!(
        claim(&rig.store, Queue::Apply, worker(), 60_000).await.is_some(),
        "now the waiting one"
    );
}

async fn a_stale_epoch_writes_nothing(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let id = job(&rig.store, &record, JobKind::Plan, 0).await;
    let old = claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
    let mut tx = rig.store.begin().await.unwrap();
    tx.fence(&old).await.unwrap();
    tx.requeue_job(id, 0, true, None).await.unwrap();
    tx.commit().await.unwrap();
    let new = claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
    assert_eq!((old.epoch, new.epoch), (1, 2));
    let forged = Lease { worker_id: old.worker_id, ..new };
    for lease in [old, forged] {
        let mut tx = rig.store.begin().await.unwrap();
        assert!(matches!(tx.fence(&lease).await, Err(Error::LeaseLost)));
    }
    let mut tx = rig.store.begin().await.unwrap();
    tx.fence(&new).await.unwrap();
}

async fn an_expired_lease_is_found_once_and_a_living_one_is_not(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let dead = job(&rig.store, &record, JobKind::Plan, 0).await;
    let lease = claim(&rig.store, Queue::Plan, worker(), 1).await.unwrap();
    let alive = job(&rig.store, &record, JobKind::Plan, 0).await;
    claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut tx = rig.store.begin().await.unwrap();
    assert!(matches!(tx.fence(&lease).await, Err(Error::LeaseLost)), "expired is lost");
    let of = record.deployment.id;
    assert_eq!(tx.expired_jobs(10).await.unwrap(), [(dead, of)]);
    assert!(tx.lock_expired_job(alive).await.unwrap().is_none());
    assert_eq!(tx.lock_expired_job(dead).await.unwrap().unwrap().id, dead);
    tx.requeue_job(dead, 0, true, Some("lost")).await.unwrap();
    assert!(tx.lock_expired_job(dead).await.unwrap().is_none());
    assert!(tx.expired_jobs(10).await.unwrap().is_empty());
    tx.commit().await.unwrap();
}

async fn a_heartbeat_extends_and_brings_the_request_to_stop(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let id = job(&rig.store, &record, JobKind::Plan, 0).await;
    let me = worker();
    let lease = claim(&rig.store, Queue::Plan, me, 400).await.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let mut tx = rig.store.begin().await.unwrap();
        let beats = tx.beat_jobs(me, 400, &[id, JobId::new(&RandomMint)]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((beats.len(), beats[0].job_id, beats[0].epoch), (1, id, lease.epoch));
        assert!(!beats[0].cancel_requested);
    }
    let mut tx = rig.store.begin().await.unwrap();
    assert!(tx.beat_jobs(worker(), 400, &[id]).await.unwrap().is_empty(), "not somebody else's");
    assert_eq!(tx.cancel_jobs(record.deployment.id, now()).await.unwrap(), 1);
    assert!(tx.beat_jobs(me, 400, &[id]).await.unwrap()[0].cancel_requested);
    tx.commit().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut tx = rig.store.begin().await.unwrap();
    assert!(tx.beat_jobs(me, 400, &[id]).await.unwrap().is_empty(), "what has run out stays lost");
}

async fn a_job_that_its_worker_let_fall_runs_out(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let fallen = job(&rig.store, &record, JobKind::Plan, 0).await;
    let me = worker();
    claim(&rig.store, Queue::Plan, me, 300).await.unwrap();
    let runs = job(&rig.store, &record, JobKind::Plan, 0).await;
    claim(&rig.store, Queue::Plan, me, 300).await.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut tx = rig.store.begin().await.unwrap();
        let beats = tx.beat_jobs(me, 300, &[runs]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(beats.iter().map(|b| b.job_id).collect::<Vec<_>>(), [runs]);
    }
    let mut tx = rig.store.begin().await.unwrap();
    assert!(tx.beat_jobs(me, 300, &[]).await.unwrap().is_empty());
    let expired = tx.expired_jobs(10).await.unwrap();
    assert_eq!(expired, [(fallen, record.deployment.id)], "somebody must be able to close it");
}

async fn an_upload_that_is_being_named_is_not_swept(rig: Rig) {
    let old = now() - chrono::Duration::days(2);
    let limit = now() - chrono::Duration::days(1);
    let upload = ArtifactId::new(&RandomMint);
    let sealed = rig.store.seal_artifact(upload, ArtifactKind::Source, b"x", old).await.unwrap();
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_artifact(&sealed).await.unwrap();
    tx.commit().await.unwrap();
    let mut record = deployment(&rig.store, "net").await;
    let mut tx = rig.store.begin().await.unwrap();
    let asked = [upload, ArtifactId::new(&RandomMint)];
    assert_eq!(tx.keep_artifacts(&asked).await.unwrap(), [upload]);
    let store = rig.store.clone();
    let sweeping = tokio::spawn(async move { store.sweep(now(), limit, limit).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    record.source_artifact = Some(upload);
    tx.update_deployment(&mut record, DeploymentState::Submitted, &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(sweeping.await.unwrap().unwrap().artifacts, 0);
    let mut tx = rig.store.read().await.unwrap();
    assert!(tx.artifact(upload).await.unwrap().is_some(), "a deployment needs it");
}

async fn a_job_handed_back_keeps_its_attempts(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let id = job(&rig.store, &record, JobKind::Plan, 0).await;
    for (count, attempt) in [(false, 0), (true, 1), (true, 2)] {
        claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
        let mut tx = rig.store.begin().await.unwrap();
        tx.requeue_job(id, 0, count, Some("again")).await.unwrap();
        let job = tx.job(id).await.unwrap().unwrap();
        assert_eq!((job.attempt, job.state), (attempt, JobState::Queued));
        tx.commit().await.unwrap();
    }
}

async fn cancelling_ends_queued_jobs_and_marks_running_ones(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let first = job(&rig.store, &record, JobKind::Plan, 0).await;
    claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
    let second = job(&rig.store, &record, JobKind::Plan, 0).await;
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.cancel_jobs(record.deployment.id, now()).await.unwrap(), 1);
    let jobs = tx.jobs_of(record.deployment.id).await.unwrap();
    let of = |id| jobs.iter().find(|j| j.id == id).unwrap();
    assert!(of(first).cancel_requested && of(first).state == JobState::Running);
    assert_eq!(of(second).state, JobState::Cancelled);
}

async fn doorbells_are_owed_again_after_a_while(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let id = job(&rig.store, &record, JobKind::Plan, 0).await;
    let later = job(&rig.store, &record, JobKind::Plan, 1).await;
    job(&rig.store, &record, JobKind::Apply, 3600).await;
    let mut tx = rig.store.begin().await.unwrap();
    let bells = tx.take_doorbells(60_000, 10).await.unwrap();
    assert!(bells.is_empty(), "whoever enqueued it rings: {bells:?}");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(tx.take_doorbells(10, 0).await.unwrap().is_empty());
    let bells = tx.take_doorbells(10, 10).await.unwrap();
    assert_eq!(bells.iter().map(|b| b.job_id).collect::<Vec<_>>(), [id], "nobody came");
    assert!(tx.take_doorbells(60_000, 10).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut tx = rig.store.begin().await.unwrap();
    let bells = tx.take_doorbells(60_000, 10).await.unwrap();
    assert_eq!(bells.iter().map(|b| b.job_id).collect::<Vec<_>>(), [later], "it is due now");
    tx.forget_bells(Queue::Plan).await.unwrap();
    assert_eq!(tx.take_doorbells(60_000, 10).await.unwrap().len(), 2);
}

async fn a_queued_job_knows_its_place_and_who_holds_it_up(rig: Rig) {
    let (a, b) = (deployment(&rig.store, "net").await, deployment(&rig.store, "net").await);
    job(&rig.store, &a, JobKind::Apply, 0).await;
    job(&rig.store, &b, JobKind::Apply, 0).await;
    let mut tx = rig.store.read().await.unwrap();
    let place = tx.queue_place(b.deployment.id).await.unwrap().unwrap();
    assert_eq!((place.position, place.key_position, place.held_by), (2, 2, None));
    drop(tx);
    claim(&rig.store, Queue::Apply, worker(), 60_000).await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    let place = tx.queue_place(b.deployment.id).await.unwrap().unwrap();
    assert_eq!((place.position, place.held_by), (1, Some(a.deployment.id)));
    assert!(tx.queue_place(a.deployment.id).await.unwrap().is_none(), "it runs");
    let totals = tx.queue_totals(&Reach::Everywhere).await.unwrap();
    assert_eq!((totals[0].queue.as_str(), totals[0].waiting, totals[0].running), ("apply", 1, 1));
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

async fn a_state_version_must_follow_the_one_before(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let stack_id = record.deployment.stack_id;
    let add = |lineage: &'static str, serial: i64| {
        let store = rig.store.clone();
        let deployment_id = record.deployment.id;
        async move {
            let id = ArtifactId::new(&RandomMint);
            let sealed = store.seal_artifact(id, ArtifactKind::State, b"{}", now()).await.unwrap();
            let mut tx = store.begin().await.unwrap();
            tx.lock_stack(stack_id).await.unwrap().unwrap();
            tx.insert_artifact(&sealed).await.unwrap();
            let mark = StateMark { lineage: lineage.into(), serial };
            let new = NewStateVersion {
                stack_id,
                mark,
                resource_count: serial,
                artifact: id,
                origin: StateOrigin::Run,
                deployment_id: Some(deployment_id),
                epoch: Some(1),
                written_by: None,
                restored_from: None,
            };
            let added = tx.add_state_version(&new, now()).await;
            if added.is_ok() {
                tx.commit().await.unwrap();
            }
            added
        }
    };
    add("a", 3).await.unwrap();
    for (lineage, serial) in [("a", 3), ("a", 2), ("b", 4)] {
        let refused = add(lineage, serial).await.unwrap_err();
        assert!(matches!(refused, Error::Changed), "{lineage} {serial}: {refused}");
    }
    add("a", 7).await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    let stack = tx.stack(stack_id).await.unwrap().unwrap();
    assert_eq!(stack.state_mark(), StateMark { lineage: "a".into(), serial: 7 });
    assert_eq!(stack.stack.state.unwrap().resource_count, 7);
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

async fn pages_follow_each_other_without_gap_or_repeat(rig: Rig) {
    let mut all = Vec::new();
    for i in 0..7 {
        all.push(deployment(&rig.store, &format!("s{}", i % 2)).await.deployment.id);
    }
    all.reverse();
    let mut got = Vec::new();
    let mut page = PageRequest { limit: 3, after: None };
    loop {
        let mut tx = rig.store.read().await.unwrap();
        let mut rows = tx.deployments(&Filter::default(), &Reach::Everywhere, page).await.unwrap();
        let more = rows.len() > 3;
        rows.truncate(3);
        got.extend(rows.iter().map(|r| r.deployment.id));
        page.after = got.last().map(|id| id.0);
        if !more {
            break;
        }
    }
    assert_eq!(got, all);
    let mut tx = rig.store.read().await.unwrap();
    let whole = PageRequest { limit: 100, after: None };
    for (filter, count) in [
        (Filter { project: Some("shop".into()), ..Filter::default() }, 7),
        (Filter { project: Some("none".into()), ..Filter::default() }, 0),
        (Filter { state: Some(DeploymentState::Failed), ..Filter::default() }, 0),
        (Filter { environment: Some("dev".into()), ..Filter::default() }, 7),
    ] {
        assert_eq!(
            tx.deployments(&filter, &Reach::Everywhere, whole).await.unwrap().len(),
            count,
            "{filter:?}"
        );
    }
    let stacks = tx
        .stacks(&slipway_store::stack::Filter::default(), &Reach::Everywhere, whole)
        .await
        .unwrap();
    assert_eq!(stacks.len(), 2);
    let of = Filter { stack_id: Some(stacks[1].stack.id), ..Filter::default() };
    assert_eq!(tx.deployments(&of, &Reach::Everywhere, whole).await.unwrap().len(), 4);
}

async fn a_loop_has_one_holder_until_its_lease_ends(rig: Rig) {
    let (a, b) = (worker(), worker());
    let take = |holder, ms| {
        let store = rig.store.clone();
        async move {
            let mut tx = store.begin().await.unwrap();
            let got = tx.take_loop_lease("reap", holder, ms).await.unwrap();
            tx.commit().await.unwrap();
            got
        }
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

async fn a_sweep_removes_what_is_past_its_time_only(rig: Rig) {
    let mut ended = deployment(&rig.store, "net").await;
    let running = deployment(&rig.store, "db").await;
    let line =
        NewLogLine { at: now(), stream: LogStream::Stdout, step: "s".into(), text: "x".into() };
    let old = now() - chrono::Duration::days(100);
    let upload = ArtifactId::new(&RandomMint);
    let sealed =
        rig.store.seal_artifact(upload, ArtifactKind::Source, &[7; 9000], old).await.unwrap();
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_artifact(&sealed).await.unwrap();
    tx.append_log(ended.deployment.id, std::slice::from_ref(&line)).await.unwrap();
    tx.append_log(running.deployment.id, &[line]).await.unwrap();
    ended.deployment.state = DeploymentState::Failed;
    ended.deployment.ended_at = Some(old);
    tx.update_deployment(&mut ended, DeploymentState::Submitted, &[]).await.unwrap();
    tx.commit().await.unwrap();
    let limit = now() - chrono::Duration::days(90);
    let swept = rig.store.sweep(now(), limit, limit).await.unwrap();
    assert_eq!((swept.log_lines, swept.artifacts), (1, 1));
    let again = rig.store.sweep(now(), limit, limit).await.unwrap();
    assert_eq!((again.log_lines, again.artifacts), (0, 0));
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.log_lines(running.deployment.id, 0, 10).await.unwrap().len(), 1);
    assert!(tx.artifact(upload).await.unwrap().is_none());
}

async fn a_long_log_is_swept_whole(rig: Rig) {
    let mut ended = deployment(&rig.store, "net").await;
    let line =
        NewLogLine { at: now(), stream: LogStream::Stdout, step: "s".into(), text: "x".into() };
    let old = now() - chrono::Duration::days(100);
    let mut tx = rig.store.begin().await.unwrap();
    tx.append_log(ended.deployment.id, &vec![line; 4500]).await.unwrap();
    ended.deployment.state = DeploymentState::Failed;
    ended.deployment.ended_at = Some(old);
    tx.update_deployment(&mut ended, DeploymentState::Submitted, &[]).await.unwrap();
    tx.commit().await.unwrap();
    let limit = now() - chrono::Duration::days(90);
    assert_eq!(rig.store.sweep(now(), limit, limit).await.unwrap().log_lines, 4500);
}

async fn two_processes_may_open_the_same_database_at_once(rig: Rig) {
    // The migrations are done; a second opening finds nothing to do and both can work.
    let record = deployment(&rig.store, "net").await;
    rig.store.ping().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    assert!(tx.deployment(record.deployment.id).await.unwrap().is_some());
    drop(tx);
    rig.store.close().await;
    assert!(rig.store.ping().await.is_err(), "closed is closed");
}

async fn keys_that_do_not_fit_are_noticed_and_looking_changes_nothing(rig: Rig) {
    let database = match &rig.url {
        Some(url) => DatabaseUrl::Postgres(url.clone()),
        None => DatabaseUrl::Sqlite(rig.dir.path().join("test.db")),
    };
    let options = Options {
        database,
        max_connections: 2,
        connect_timeout: Duration::from_secs(20),
        artifacts_dir: rig.dir.path().join("artifacts"),
        inline_max_bytes: 4096,
    };
    let others = || Keyring::parse(&Keyring::generate().unwrap()).unwrap();
    rig.store.check_keys().await.unwrap();
    assert!(
        Store::look(&options, others()).await.is_err(),
        "the house key is sealed from the start"
    );
    deployment(&rig.store, "net").await;
    let error = Store::look(&options, others()).await.unwrap_err();
    assert!(error.to_string().contains("key"), "{error}");
    let empty = if rig.url.is_some() {
        postgres_url().await
    } else {
        let path = rig.dir.path().join("empty.db");
        std::fs::write(&path, b"").unwrap();
        DatabaseUrl::Sqlite(path)
    };
    let options = Options { database: empty, ..options };
    let missing = Store::look(&options, others()).await.unwrap();
    assert!(missing >= 2, "{missing}");
    assert_eq!(Store::look(&options, others()).await.unwrap(), missing, "they are still missing");
}

async fn hostile_text_is_kept_as_it_is(rig: Rig) {
    let id = deployment(&rig.store, "net").await.deployment.id;
    let text = "'; drop table jobs; -- \u{1F600} \u{0}\u{7} \\ \" $1 {now_ms}";
    let line =
        NewLogLine { at: now(), stream: LogStream::Stderr, step: "s".into(), text: text.into() };
    let event = EventBody::Step { step: text.into(), detail: Some(text.into()) };
    let record = rig.store.read().await.unwrap().deployment(id).await.unwrap().unwrap();
    let job = job(&rig.store, &record, JobKind::Plan, 0).await;
    let mut tx = rig.store.begin().await.unwrap();
    tx.append_log(id, &[line]).await.unwrap();
    tx.append_events(id, std::slice::from_ref(&event), now()).await.unwrap();
    let mut record = tx.deployment(id).await.unwrap().unwrap();
    record.deployment.reason = Some(text.into());
    tx.update_deployment(&mut record, DeploymentState::Submitted, &[]).await.unwrap();
    tx.requeue_job(job, 0, true, Some(text)).await.unwrap();
    tx.end_job(job, JobState::Failed, Some(text), now()).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    let reason = tx.deployment(id).await.unwrap().unwrap().deployment.reason.unwrap();
    assert_eq!(reason, text.replace('\0', "\u{fffd}"));
    assert_eq!(tx.events(id, 0, 1).await.unwrap()[0].body, event);
    let kept = &tx.log_lines(id, 0, 1).await.unwrap()[0].text;
    assert_eq!(*kept, text.replace('\0', "\u{fffd}"), "only NUL cannot be kept");
    assert!(tx.job(JobId::new(&RandomMint)).await.unwrap().is_none());
}

/// SQLite makes two files beside the database, with the database's mode.
#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_a_sqlite_database() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = sqlite().await;
    deployment(&rig.store, "net").await;
    let mut seen = 0;
    for item in std::fs::read_dir(rig.dir.path()).unwrap() {
        let item = item.unwrap();
        if item.file_name().to_string_lossy().starts_with("test.db") {
            seen += 1;
            let mode = item.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", item.file_name());
        }
    }
    assert_eq!(seen, 3, "the database, its log and its index");
}

/// Both folders of migrations make the same tables, columns and nullability.
#[tokio::test]
async fn both_engines_have_the_same_schema() {
    type Column = (String, String, bool);
    let (sqlite, postgres) = (sqlite().await, postgres().await);
    let lite: Vec<Column> = {
        let path = sqlite.dir.path().join("test.db");
        let mut c = sqlx::SqliteConnection::connect(&path.to_string_lossy()).await.unwrap();
        let rows: Vec<(String, String, bool, i64)> = sqlx::query_as(
            "select m.name, c.name, c.\"notnull\", c.pk from sqlite_master m
             join pragma_table_info(m.name) c where m.type = 'table' and m.name not like '\\_%' escape '\\'
               and m.name not like 'sqlite%' order by 1, 2",
        )
        .fetch_all(&mut c)
        .await
        .unwrap();
        rows.into_iter().map(|(t, c, not_null, _)| (t, c, not_null)).collect()
    };
    let mut c = sqlx::PgConnection::connect(postgres.url.as_ref().unwrap()).await.unwrap();
    let pg: Vec<Column> = sqlx::query_as(
        "select table_name::text, column_name::text, is_nullable = 'NO'
         from information_schema.columns
         where table_schema = 'public' and table_name not like '\\_%' order by 1, 2",
    )
    .fetch_all(&mut c)
    .await
    .unwrap();
    let sorted = |mut columns: Vec<Column>| {
        columns.sort();
        columns
    };
    let (lite, pg) = (sorted(lite), sorted(pg));
    assert!(lite.len() > 80, "{}", lite.len());
    assert_eq!(lite, pg);
}
