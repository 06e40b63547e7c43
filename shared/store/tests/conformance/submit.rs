//! Submissions: each whole or not at all, whatever becomes of the others.

use slipway_domain::audit::AuditRecord;
use slipway_domain::clock::SystemClock;
use slipway_domain::event::EventBody;
use slipway_store::deployment::Submission;

use super::*;

on_both_engines! {
    what_is_submitted_is_there_with_all_that_comes_with_it,
    who_was_answered_or_has_lost_the_archive_is_left_out_and_nothing_of_it_written,
    one_key_at_the_same_time_is_one_deployment,
    projects_alternate_also_when_they_submit_together,
}

/// A submission of a stack that is there.
pub(super) struct Made {
    record: Record,
    variables: Variables,
    events: Vec<EventBody>,
    audit: AuditRecord,
    job: NewJob,
    answer: Option<(Key, Stored)>,
}

impl Made {
    fn id(&self) -> DeploymentId {
        self.record.deployment.id
    }

    pub(super) fn asked(&self) -> Submission<'_> {
        Submission {
            new: New { record: &self.record, variables: &self.variables, events: &self.events },
            audit: &self.audit,
            job: &self.job,
            answer: self.answer.as_ref().map(|(key, stored)| (key, stored.clone())),
        }
    }
}

/// A new submission of the stack of `like`, whose project is as given, under a key or none.
pub(super) fn made(like: &Record, project: &str, key: Option<&str>) -> Made {
    let mut record = like.clone();
    record.deployment.id = DeploymentId::new(&RandomMint);
    record.deployment.stack.project = project.into();
    let target = record.deployment.id.to_string();
    let who = Principal::local(Door::Rest);
    let audit = AuditRecord::of(
        &SystemClock,
        &RandomMint,
        &who,
        "deployment.submit",
        target.clone(),
        serde_json::json!({"a": "ü"}),
    );
    let job = NewJob { project: project.into(), ..new_job(&record, JobKind::Plan, 0) };
    let event = |step: &str| EventBody::Step { step: step.into(), detail: None };
    let answer = key.map(|key| {
        let key = Key { principal: "p".into(), operation: "o".into(), key: key.into() };
        (key, Stored { request_hash: "h".into(), answer: target })
    });
    let variables = [("password".to_owned(), "hunter2".into())].into();
    Made { record, variables, events: vec![event("one"), event("two")], audit, job, answer }
}

async fn submit(store: &Store, all: &[Made]) -> Vec<DeploymentId> {
    let at = now();
    let asked: Vec<_> = all.iter().map(Made::asked).collect();
    let mut tx = store.single().await.unwrap();
    let mut added = tx.submit(&asked, at, at + chrono::Duration::hours(1)).await.unwrap();
    tx.commit().await.unwrap();
    added.sort_unstable();
    added
}

/// Whether all of it is there; panics when only some of it is.
async fn is_there(store: &Store, made: &Made) -> bool {
    let mut tx = store.read().await.unwrap();
    let kept = tx.deployment(made.id()).await.unwrap();
    let events = tx.events(made.id(), 0, 100).await.unwrap();
    let audit = tx.audit_of(&made.id().to_string()).await.unwrap();
    let job = tx.job(made.job.id).await.unwrap();
    let Some(kept) = kept else {
        assert!(events.is_empty() && audit.is_empty() && job.is_none());
        return false;
    };
    assert_eq!(kept, made.record);
    assert_eq!(tx.variables(made.id()).await.unwrap(), made.variables);
    let told: Vec<_> = events.iter().map(|event| (event.seq, event.body.clone())).collect();
    assert_eq!(told, (1..).zip(made.events.iter().cloned()).collect::<Vec<_>>());
    assert_eq!(audit, [("deployment.submit".to_owned(), "allowed".to_owned())]);
    let job = job.unwrap();
    assert_eq!(
        (job.state, job.kind, job.attempt, job.epoch),
        (JobState::Queued, JobKind::Plan, 0, 0)
    );
    assert_eq!((job.deployment_id, job.stack_id), (made.id(), made.record.deployment.stack_id));
    let limits = JobLimits {
        max_attempts: job.max_attempts,
        soft_limit_s: job.soft_limit_s,
        hard_limit_s: job.hard_limit_s,
    };
    assert_eq!(limits, made.job.limits);
    if let Some((key, stored)) = &made.answer {
        assert_eq!(tx.idempotent_answer(key, now()).await.unwrap().as_ref(), Some(stored));
    }
    true
}

async fn what_is_submitted_is_there_with_all_that_comes_with_it(rig: Rig) {
    let like = deployment(&rig.store, "net").await;
    let mut all = vec![
        made(&like, "shop", Some("a")),
        made(&like, "shop", None),
        made(&like, "shop", Some("b")),
    ];
    all[1].job.traceparent = Some("00-1".into());
    all[2].job.delay_s = 3600;
    let mut ids: Vec<_> = all.iter().map(Made::id).collect();
    ids.sort_unstable();
    assert_eq!(submit(&rig.store, &all).await, ids);
    for one in &all {
        assert!(is_there(&rig.store, one).await);
    }
    // They count as rung, but for what is not due; and are taken in their order.
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.take_doorbells(60_000, 10).await.unwrap(), []);
    tx.commit().await.unwrap();
    for one in &all[..2] {
        let lease = claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
        assert_eq!(lease.job_id, one.job.id);
    }
    assert!(claim(&rig.store, Queue::Plan, worker(), 60_000).await.is_none(), "it is delayed");
    assert_eq!(submit(&rig.store, &[]).await, []);
    // The marks of their records are those of this house.
    let verified = rig.store.seal_audit(now(), 100).await.unwrap();
    assert_eq!(verified.forged, 0);
    assert!(verified.records >= 3);
}

async fn who_was_answered_or_has_lost_the_archive_is_left_out_and_nothing_of_it_written(rig: Rig) {
    let like = deployment(&rig.store, "net").await;
    let first = [made(&like, "shop", Some("k"))];
    assert_eq!(submit(&rig.store, &first).await, [first[0].id()]);
    let archive = ArtifactId::new(&RandomMint);
    let sealed =
        rig.store.seal_artifact(archive, ArtifactKind::Source, b"tree", now()).await.unwrap();
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_artifact(&sealed).await.unwrap();
    tx.commit().await.unwrap();
    let mut all = vec![
        made(&like, "shop", Some("k")),
        made(&like, "shop", Some("fresh")),
        made(&like, "shop", Some("gone")),
        made(&like, "shop", Some("kept")),
        made(&like, "shop", None),
        made(&like, "shop", None),
    ];
    all[2].record.source_artifact = Some(ArtifactId::new(&RandomMint));
    all[3].record.source_artifact = Some(archive);
    all[4].record.source_artifact = Some(ArtifactId::new(&RandomMint));
    let added = submit(&rig.store, &all).await;
    assert_eq!(added.len(), 3);
    for (at, one) in all.iter().enumerate() {
        assert_eq!(is_there(&rig.store, one).await, [1, 3, 5].contains(&at), "{at}");
        assert_eq!(added.contains(&one.id()), [1, 3, 5].contains(&at), "{at}");
    }
    let mut tx = rig.store.read().await.unwrap();
    let (key, stored) = first[0].answer.as_ref().unwrap();
    assert_eq!(tx.idempotent_answer(key, now()).await.unwrap().as_ref(), Some(stored));
    // Whoever comes again after the archive was lost is not told that it was answered.
    let (key, _) = all[2].answer.as_ref().unwrap();
    assert_eq!(tx.idempotent_answer(key, now()).await.unwrap(), None);
    drop(tx);
    // An answer that has expired is none.
    let later = now() + chrono::Duration::hours(2);
    let again = made(&like, "shop", Some("k"));
    let mut tx = rig.store.single().await.unwrap();
    let until = later + chrono::Duration::hours(1);
    assert_eq!(tx.submit(&[again.asked()], later, until).await.unwrap(), [again.id()]);
    tx.commit().await.unwrap();
    assert!(is_there(&rig.store, &again).await);
    // A unit of work that is taken back leaves nothing.
    let taken_back = made(&like, "shop", Some("back"));
    let mut tx = rig.store.begin().await.unwrap();
    let added = tx.submit(&[taken_back.asked()], now(), until).await.unwrap();
    assert_eq!(added, [taken_back.id()]);
    tx.rollback().await.unwrap();
    assert!(!is_there(&rig.store, &taken_back).await);
}

async fn one_key_at_the_same_time_is_one_deployment(rig: Rig) {
    let like = deployment(&rig.store, "net").await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (store, like) = (rig.store.clone(), like.clone());
        tasks.push(tokio::spawn(async move {
            // The same keys in whatever order.
            let mut all: Vec<_> = ["c", "a", "b"].map(|key| made(&like, "shop", Some(key))).into();
            let by = usize::try_from(all[0].job.id.0.as_u128() % 3).unwrap();
            all.rotate_left(by);
            let added = submit(&store, &all).await;
            (all, added)
        }));
    }
    let mut there = 0;
    for task in tasks {
        let (all, added) = task.await.unwrap();
        for one in &all {
            let is_added = added.contains(&one.id());
            assert_eq!(is_there(&rig.store, one).await, is_added);
            there += usize::from(is_added);
        }
    }
    assert_eq!(there, 3);
}

async fn projects_alternate_also_when_they_submit_together(rig: Rig) {
    let like = deployment(&rig.store, "net").await;
    let mut all: Vec<_> = (0..3).map(|_| made(&like, "many", None)).collect();
    all.push(made(&like, "one", None));
    submit(&rig.store, &all).await;
    submit(&rig.store, &[made(&like, "many", None), made(&like, "one", None)]).await;
    let mut order = Vec::new();
    while let Some(lease) = claim(&rig.store, Queue::Plan, worker(), 60_000).await {
        let mut tx = rig.store.read().await.unwrap();
        let of = tx.job(lease.job_id).await.unwrap().unwrap().deployment_id;
        order.push(tx.deployment(of).await.unwrap().unwrap().deployment.stack.project);
    }
    assert_eq!(order, ["many", "one", "many", "one", "many", "many"]);
}
