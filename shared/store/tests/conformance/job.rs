//! Jobs: who holds one, for how long, and what becomes of it.

use super::*;

on_both_engines! {
    a_job_has_one_holder_and_claims_follow_its_due_time,
    jobs_with_one_key_run_one_at_a_time,
    a_stale_epoch_writes_nothing,
    an_expired_lease_is_found_once_and_a_living_one_is_not,
    a_heartbeat_extends_and_brings_the_request_to_stop,
    a_job_that_its_worker_let_fall_runs_out,
    a_job_handed_back_keeps_its_attempts,
    cancelling_ends_queued_jobs_and_marks_running_ones,
    doorbells_are_owed_again_after_a_while,
    a_queued_job_knows_its_place_and_who_holds_it_up,
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
