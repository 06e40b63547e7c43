//! What operators set for queues, fair order, versions, idempotency keys; seeing, requeueing and
//! removing jobs.

use slipway_domain::queue::Pause;
use slipway_store::job_info::Filter;

use super::*;

on_both_engines! {
    projects_take_turns_however_much_one_of_them_enqueues,
    a_higher_priority_goes_first_and_a_lower_one_last,
    a_paused_queue_gives_nothing_out_and_others_go_on,
    a_paused_queue_with_a_cap_gives_nothing_out,
    a_cap_holds_over_all_workers_under_concurrency,
    jobs_of_later_versions_and_unknown_kinds_are_left_alone,
    the_same_key_is_one_job,
    a_dead_job_is_revived_with_all_its_attempts_and_only_a_dead_one,
    jobs_are_listed_by_what_is_asked_and_removed_when_they_have_ended,
    what_could_run_is_counted_once_a_key,
    workers_are_listed_with_what_they_serve,
}

fn of_project(of: &Record, project: &str) -> NewJob {
    NewJob { project: project.into(), ..new_job(of, JobKind::Plan, 0) }
}

/// Claims everything that can be, and returns the projects in order.
async fn drained(store: &Store, queue: Queue) -> Vec<String> {
    let mut order = Vec::new();
    while let Some(lease) = claim(store, queue, worker(), 60_000).await {
        let mut tx = store.begin().await.unwrap();
        order.push(tx.job_info(lease.job_id).await.unwrap().unwrap().project);
        tx.end_job(lease.job_id, JobState::Succeeded, None, now()).await.unwrap();
        tx.commit().await.unwrap();
    }
    order
}

async fn projects_take_turns_however_much_one_of_them_enqueues(rig: Rig) {
    let of = deployment(&rig.store, "net").await;
    for project in ["a", "a", "a", "a", "b", "b", "c"] {
        put(&rig.store, &of_project(&of, project)).await;
    }
    assert_eq!(drained(&rig.store, Queue::Plan).await, ["a", "b", "c", "a", "b", "a", "a"]);
    // One that comes late waits neither for the flood of another, nor does it get all its turns
    // at once for having been away.
    for _ in 0..6 {
        put(&rig.store, &of_project(&of, "a")).await;
    }
    for _ in 0..3 {
        claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
    }
    for _ in 0..3 {
        put(&rig.store, &of_project(&of, "b")).await;
    }
    assert_eq!(drained(&rig.store, Queue::Plan).await, ["a", "b", "a", "b", "a", "b"]);
}

async fn a_higher_priority_goes_first_and_a_lower_one_last(rig: Rig) {
    let of = deployment(&rig.store, "net").await;
    for (project, priority) in [
        ("a", Priority::Low),
        ("b", Priority::Normal),
        ("c", Priority::High),
        ("d", Priority::High),
    ] {
        put(&rig.store, &NewJob { priority, ..of_project(&of, project) }).await;
    }
    assert_eq!(drained(&rig.store, Queue::Plan).await, ["c", "d", "b", "a"]);
}

async fn a_paused_queue_gives_nothing_out_and_others_go_on(rig: Rig) {
    let of = deployment(&rig.store, "net").await;
    job(&rig.store, &of, JobKind::Plan, 0).await;
    job(&rig.store, &of, JobKind::Apply, 0).await;
    let pause = Pause {
        by: Principal::local(Door::Rest).actor,
        at: now(),
        reason: Some("the provider is down".into()),
    };
    let mut tx = rig.store.begin().await.unwrap();
    tx.set_pause(Queue::Plan, Some(&pause)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    let settings = tx.queue_settings().await.unwrap();
    drop(tx);
    assert_eq!(settings.iter().find(|q| q.name == Queue::Plan).unwrap().paused, Some(pause));
    assert_eq!(settings.iter().find(|q| q.name == Queue::Apply).unwrap().paused, None);
    assert!(claim(&rig.store, Queue::Plan, worker(), 60_000).await.is_none());
    assert!(claim(&rig.store, Queue::Apply, worker(), 60_000).await.is_some());
    let mut tx = rig.store.begin().await.unwrap();
    tx.set_pause(Queue::Plan, None).await.unwrap();
    tx.commit().await.unwrap();
    assert!(claim(&rig.store, Queue::Plan, worker(), 60_000).await.is_some());
}

async fn a_paused_queue_with_a_cap_gives_nothing_out(rig: Rig) {
    let of = deployment(&rig.store, "net").await;
    job(&rig.store, &of, JobKind::Plan, 0).await;
    let pause = Pause { by: Principal::local(Door::Rest).actor, at: now(), reason: None };
    let mut tx = rig.store.begin().await.unwrap();
    tx.set_cap(Queue::Plan, Some(1)).await.unwrap();
    tx.set_pause(Queue::Plan, Some(&pause)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(claim(&rig.store, Queue::Plan, worker(), 60_000).await.is_none());
    let mut tx = rig.store.begin().await.unwrap();
    tx.set_pause(Queue::Plan, None).await.unwrap();
    tx.commit().await.unwrap();
    assert!(claim(&rig.store, Queue::Plan, worker(), 60_000).await.is_some());
}

async fn a_cap_holds_over_all_workers_under_concurrency(rig: Rig) {
    let of = deployment(&rig.store, "net").await;
    for _ in 0..12 {
        job(&rig.store, &of, JobKind::Plan, 0).await;
    }
    let mut tx = rig.store.begin().await.unwrap();
    tx.set_cap(Queue::Plan, Some(3)).await.unwrap();
    tx.commit().await.unwrap();
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let store = rig.store.clone();
        claims.spawn(async move { claim(&store, Queue::Plan, worker(), 60_000).await });
    }
    let claimed = claims.join_all().await.into_iter().flatten().count();
    assert_eq!(claimed, 3);
    let mut tx = rig.store.begin().await.unwrap();
    tx.set_cap(Queue::Plan, None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(drained(&rig.store, Queue::Plan).await.len(), 9);
}

/// What a newer Slipway might have written.
async fn write(rig: &Rig, statement: &'static str) {
    if let Some(url) = &rig.url {
        let mut c = sqlx::PgConnection::connect(url).await.unwrap();
        sqlx::query(statement).execute(&mut c).await.unwrap();
    } else {
        let path = rig.dir.path().join("test.db");
        let mut c = sqlx::SqliteConnection::connect(&path.to_string_lossy()).await.unwrap();
        sqlx::query(statement).execute(&mut c).await.unwrap();
    }
}

async fn jobs_of_later_versions_and_unknown_kinds_are_left_alone(rig: Rig) {
    let of = deployment(&rig.store, "net").await;
    job(&rig.store, &of, JobKind::Plan, 0).await;
    write(&rig, "update jobs set version = 2").await;
    assert!(claim(&rig.store, Queue::Plan, worker(), 60_000).await.is_none());
    write(&rig, "update jobs set version = 1, kind = 'replan'").await;
    assert!(claim(&rig.store, Queue::Plan, worker(), 60_000).await.is_none());
    let mut tx = rig.store.read().await.unwrap();
    let page = PageRequest::parse(None, None).unwrap();
    let listed = tx.job_infos(&Filter::default(), &Reach::Everywhere, page).await.unwrap();
    assert_eq!((listed[0].kind.as_str(), listed[0].state), ("replan", JobState::Queued));
    drop(tx);
    // A worker that knows it died: it is not ours to say what becomes of it.
    write(&rig, "update jobs set state = 'running', lease_until_ms = 1").await;
    let mut tx = rig.store.begin().await.unwrap();
    assert!(tx.expired_jobs(10).await.unwrap().is_empty());
    drop(tx);
    write(&rig, "update jobs set kind = 'plan'").await;
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.expired_jobs(10).await.unwrap().len(), 1);
}

async fn the_same_key_is_one_job(rig: Rig) {
    let of = deployment(&rig.store, "net").await;
    let first = NewJob { idempotency_key: "k".into(), ..new_job(&of, JobKind::Plan, 0) };
    let second = NewJob { idempotency_key: "k".into(), ..new_job(&of, JobKind::Plan, 0) };
    put(&rig.store, &first).await;
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.insert_jobs(std::slice::from_ref(&second), now()).await.unwrap(), 0);
    tx.commit().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    assert!(tx.job(second.id).await.unwrap().is_none());
    assert_eq!(tx.jobs_of(of.deployment.id).await.unwrap().len(), 1);
}

async fn a_dead_job_is_revived_with_all_its_attempts_and_only_a_dead_one(rig: Rig) {
    let of = deployment(&rig.store, "net").await;
    let id = job(&rig.store, &of, JobKind::Plan, 0).await;
    let mut tx = rig.store.begin().await.unwrap();
    assert!(!tx.revive_job(id).await.unwrap(), "it is queued");
    tx.commit().await.unwrap();
    claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
    let mut tx = rig.store.begin().await.unwrap();
    tx.end_job(id, JobState::Dead, Some("no more"), now()).await.unwrap();
    assert!(tx.revive_job(id).await.unwrap());
    assert!(!tx.revive_job(id).await.unwrap(), "it is not dead any more");
    tx.commit().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    let back = tx.job_info(id).await.unwrap().unwrap();
    assert_eq!((back.state, back.attempt, back.worker_id), (JobState::Queued, 0, None));
    assert_eq!(back.last_error.as_deref(), Some("no more"), "why it died stays to be seen");
    drop(tx);
    let lease = claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
    assert_eq!(lease.epoch, 2, "the epoch goes on: whoever held it before writes nothing");
}

async fn jobs_are_listed_by_what_is_asked_and_removed_when_they_have_ended(rig: Rig) {
    let (a, b) = (deployment(&rig.store, "net").await, deployment(&rig.store, "db").await);
    let plan = job(&rig.store, &a, JobKind::Plan, 0).await;
    let apply = job(&rig.store, &b, JobKind::Apply, 0).await;
    let later = put(&rig.store, &of_project(&b, "other")).await;
    let page = PageRequest::parse(Some(2), None).unwrap();
    let ids = async |filter: Filter| {
        let mut tx = rig.store.read().await.unwrap();
        let jobs = tx.job_infos(&filter, &Reach::Everywhere, page).await.unwrap();
        jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Filter::default()).await, [later, apply, plan], "newest first, one surplus");
    assert_eq!(ids(Filter { queue: Some("apply".into()), ..Filter::default() }).await, [apply]);
    assert_eq!(ids(Filter { kind: Some("plan".into()), ..Filter::default() }).await, [later, plan]);
    assert_eq!(ids(Filter { project: Some("other".into()), ..Filter::default() }).await, [later]);
    let of_b = Filter { deployment_id: Some(b.deployment.id), ..Filter::default() };
    assert_eq!(ids(of_b).await, [later, apply]);
    assert!(ids(Filter { state: Some(JobState::Dead), ..Filter::default() }).await.is_empty());
    let mut tx = rig.store.begin().await.unwrap();
    assert!(!tx.delete_job(plan).await.unwrap(), "it is queued");
    tx.end_job(plan, JobState::Dead, None, now()).await.unwrap();
    assert!(tx.delete_job(plan).await.unwrap());
    assert!(!tx.delete_job(plan).await.unwrap(), "it is gone");
    tx.commit().await.unwrap();
    assert_eq!(ids(Filter::default()).await, [later, apply]);
}

async fn what_could_run_is_counted_once_a_key(rig: Rig) {
    let (a, b) = (deployment(&rig.store, "net").await, deployment(&rig.store, "db").await);
    for _ in 0..3 {
        job(&rig.store, &a, JobKind::Apply, 0).await;
    }
    job(&rig.store, &b, JobKind::Apply, 0).await;
    job(&rig.store, &b, JobKind::Apply, 60).await;
    job(&rig.store, &a, JobKind::Plan, 0).await;
    job(&rig.store, &a, JobKind::Plan, 0).await;
    let totals = async || {
        let mut tx = rig.store.read().await.unwrap();
        let totals = tx.queue_totals(&Reach::Everywhere).await.unwrap();
        totals
            .into_iter()
            .map(|t| (t.queue, t.waiting, t.scheduled, t.runnable))
            .collect::<Vec<_>>()
    };
    assert_eq!(totals().await, [("apply".into(), 4, 1, 2), ("plan".to_owned(), 2, 0, 2)]);
    claim(&rig.store, Queue::Apply, worker(), 60_000).await.unwrap();
    assert_eq!(totals().await[0], ("apply".into(), 3, 1, 1), "what waits for its stack cannot run");
}

async fn workers_are_listed_with_what_they_serve(rig: Rig) {
    let id = worker();
    let new = slipway_store::worker::NewWorker {
        id,
        host: "host-1".into(),
        pid: 42,
        version: "0.1.0".into(),
        queues: "plan=4,apply=1".into(),
        started_at: now(),
    };
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_worker(&new).await.unwrap();
    tx.beat_worker(id, true).await.unwrap();
    tx.commit().await.unwrap();
    let of = deployment(&rig.store, "net").await;
    let held = job(&rig.store, &of, JobKind::Plan, 0).await;
    claim(&rig.store, Queue::Plan, id, 60_000).await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    let workers = tx.workers().await.unwrap();
    assert_eq!(workers.len(), 1);
    assert_eq!((workers[0].id, workers[0].pid, workers[0].draining), (id, 42, true));
    assert_eq!(workers[0].queues, [(Queue::Plan, 4), (Queue::Apply, 1)].into());
    assert!(workers[0].silent_s < 30.0, "{}", workers[0].silent_s);
    assert_eq!(tx.running_jobs(&Reach::Everywhere).await.unwrap(), [(id, held)]);
}
