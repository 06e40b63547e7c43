//! Moves that workers make under their leases: all or nothing of each, and only by who may.

use slipway_domain::access::{Door, Principal};
use slipway_domain::audit::AuditRecord;
use slipway_domain::clock::SystemClock;
use slipway_domain::deployment::Output;
use slipway_domain::event::EventBody;
use slipway_domain::id::AuditId;
use slipway_domain::job::JobState;
use slipway_store::deployment::{Changed, HeldMove, NothingToDo};

use super::*;

on_both_engines! {
    who_may_moves_and_nothing_of_the_others_is_written,
    an_end_is_of_the_state_that_it_is_said_of,
    what_somebody_else_has_locked_is_left_to_later,
    what_is_begun_comes_with_what_it_is_begun_with,
}

/// A deployment whose plan was taken.
struct Taken {
    record: Record,
    lease: Lease,
    audit: Vec<AuditRecord>,
    events: Vec<EventBody>,
}

impl Taken {
    fn id(&self) -> DeploymentId {
        self.record.deployment.id
    }

    /// Its move from one state to another, as it is asked for.
    fn to<'a>(&'a mut self, state: DeploymentState, end: Option<NothingToDo<'a>>) -> HeldMove<'a> {
        let from = self.record.deployment.state;
        for told in &mut self.audit {
            told.id = AuditId::new(&RandomMint);
        }
        self.record.deployment.state = state;
        let Self { record, lease, audit, events } = self;
        HeldMove { changed: Changed { record, from, events, audit }, lease: *lease, end }
    }
}

async fn taken(store: &Store, stack: &str) -> Taken {
    let record = deployment(store, stack).await;
    job(store, &record, JobKind::Plan, 0).await;
    let lease = claim(store, Queue::Plan, worker(), 60_000).await.unwrap();
    let target = record.deployment.id.to_string();
    let who = Principal::local(Door::Rest);
    let told = |what: &str| {
        AuditRecord::of(
            &SystemClock,
            &RandomMint,
            &who,
            what,
            target.clone(),
            serde_json::json!({}),
        )
    };
    let audit = vec![told("deployment.first"), told("deployment.second")];
    let event = |step: &str| EventBody::Step { step: step.into(), detail: None };
    Taken { record, lease, audit, events: vec![event("one"), event("two")] }
}

/// Its state and version, how many events and audit records there are, and where its job is.
async fn now_of(store: &Store, taken: &Taken) -> (DeploymentState, i64, usize, usize, JobState) {
    let mut tx = store.read().await.unwrap();
    let kept = tx.deployment(taken.id()).await.unwrap().unwrap();
    let events = tx.events(taken.id(), 0, 100).await.unwrap();
    let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=i64::try_from(events.len()).unwrap()).collect::<Vec<_>>());
    let audit = tx.audit_of(&taken.id().to_string()).await.unwrap();
    let job = tx.job_state(taken.lease.job_id).await.unwrap().unwrap();
    (kept.deployment.state, kept.version, events.len(), audit.len(), job)
}

async fn who_may_moves_and_nothing_of_the_others_is_written(rig: Rig) {
    use DeploymentState as S;
    let mut all = Vec::new();
    for stack in ["may", "lost", "later", "changed", "too"] {
        all.push(taken(&rig.store, stack).await);
    }
    all[1].lease.worker_id = worker();
    all[2].lease.epoch += 1;
    all[3].record.version += 1;
    let (may, too) = (all[0].id(), all[4].id());
    let mut moves: Vec<_> = all.iter_mut().map(|one| one.to(S::Planning, None)).collect();
    let mut made = rig.store.move_held(&mut moves).await.unwrap();
    drop(moves);
    made.sort_unstable();
    assert_eq!(made, [may.min(too), may.max(too)]);
    for one in &all {
        let is_made = made.contains(&one.id());
        let found = now_of(&rig.store, one).await;
        if is_made {
            assert_eq!(found, (S::Planning, 2, 2, 2, JobState::Running));
            assert_eq!(one.record.version, 2, "it is what is kept now");
        } else {
            assert_eq!(found, (S::Submitted, 1, 0, 0, JobState::Running));
        }
    }
    // A lease that has run out is none, whoever has it.
    let mut late = taken(&rig.store, "late").await;
    let mut tx = rig.store.begin().await.unwrap();
    tx.beat_jobs(late.lease.worker_id, -1, &[late.lease.job_id]).await.unwrap();
    tx.commit().await.unwrap();
    let made = rig.store.move_held(&mut [late.to(S::Planning, None)]).await.unwrap();
    assert!(made.is_empty());
    assert_eq!(now_of(&rig.store, &late).await, (S::Submitted, 1, 0, 0, JobState::Running));
    assert!(rig.store.move_held(&mut []).await.unwrap().is_empty());
}

async fn an_end_is_of_the_state_that_it_is_said_of(rig: Rig) {
    use DeploymentState as S;
    let outputs = [Output {
        name: "url".into(),
        value: "http://x".into(),
        sensitive: true,
        kind: "string".into(),
    }];
    let mark = |serial| StateMark { lineage: "a".into(), serial };
    let (fits, old, none, any) = (mark(7), mark(6), mark(1), StateMark::default());
    let mut all = Vec::new();
    for (stack, serial) in [("fits", Some(7)), ("old", Some(7)), ("none", None), ("any", Some(7))] {
        let mut one = taken(&rig.store, stack).await;
        assert_eq!(rig.store.move_held(&mut [one.to(S::Planning, None)]).await.unwrap().len(), 1);
        if let Some(serial) = serial {
            state::keep(&rig.store, &one.record, mark(serial)).await.unwrap();
        }
        all.push(one);
    }
    let ends = [
        NothingToDo { made_from: &fits, outputs: Some(&outputs), is_current: true },
        NothingToDo { made_from: &old, outputs: Some(&outputs), is_current: true },
        NothingToDo { made_from: &none, outputs: Some(&outputs), is_current: true },
        NothingToDo { made_from: &any, outputs: None, is_current: false },
    ];
    let mut moves: Vec<_> =
        all.iter_mut().zip(ends).map(|(one, end)| one.to(S::NoChanges, Some(end))).collect();
    let made = rig.store.move_held(&mut moves).await.unwrap();
    drop(moves);
    for (at, one) in all.iter().enumerate() {
        let found = now_of(&rig.store, one).await;
        let mut tx = rig.store.read().await.unwrap();
        let kept = tx.outputs(one.id()).await.unwrap();
        let stack = tx.stack(one.record.deployment.stack_id).await.unwrap().unwrap().stack;
        let job = tx.job(one.lease.job_id).await.unwrap().unwrap();
        assert_eq!(made.contains(&one.id()), [0, 3].contains(&at));
        if made.contains(&one.id()) {
            assert_eq!(found, (S::NoChanges, 3, 4, 4, JobState::Succeeded));
            assert_eq!(kept.as_deref(), (at == 0).then_some(&outputs[..]));
            assert_eq!(stack.current_deployment, (at == 0).then_some(one.id()));
            assert!(tx.fence(&one.lease).await.is_err(), "the run is over, and so is its lease");
        } else {
            assert_eq!(found, (S::Planning, 2, 2, 2, JobState::Running));
            assert_eq!((kept, stack.current_deployment), (None, None));
        }
        assert_eq!(job.last_error, None);
    }
}

async fn what_somebody_else_has_locked_is_left_to_later(rig: Rig) {
    use DeploymentState as S;
    // On SQLite nobody has a row to himself.
    let Some(url) = &rig.url else { return };
    let mut db = sqlx::PgConnection::connect(url).await.unwrap();
    let any = StateMark::default();
    for table in ["jobs", "deployments", "stacks"] {
        let (mut first, mut second) =
            (taken(&rig.store, "one").await, taken(&rig.store, table).await);
        for one in [&mut first, &mut second] {
            let moved = rig.store.move_held(&mut [one.to(S::Planning, None)]).await.unwrap();
            assert_eq!(moved.len(), 1);
        }
        let d = &second.record.deployment;
        let id = match table {
            "jobs" => second.lease.job_id.0,
            "deployments" => d.id.0,
            _ => d.stack_id.0,
        };
        let mut other = db.begin().await.unwrap();
        let text = format!("select 1 from {table} where id = $1 for no key update");
        sqlx::query(sqlx::AssertSqlSafe(text)).bind(id).execute(&mut *other).await.unwrap();
        let end = Some(NothingToDo { made_from: &any, outputs: None, is_current: true });
        let (free, locked) = (first.id(), second.id());
        let mut moves = [first.to(S::NoChanges, end), second.to(S::NoChanges, end)];
        let made = rig.store.move_held(&mut moves);
        let made = tokio::time::timeout(Duration::from_secs(20), made).await.expect("it waits");
        assert_eq!(made.unwrap(), [free], "{table}");
        other.rollback().await.unwrap();
        let [_, later] = &mut moves;
        assert_eq!(rig.store.move_held(std::slice::from_mut(later)).await.unwrap(), [locked]);
    }
}

async fn what_is_begun_comes_with_what_it_is_begun_with(rig: Rig) {
    let (with, without) =
        (deployment(&rig.store, "with").await, deployment(&rig.store, "without").await);
    let mark = StateMark { lineage: "a".into(), serial: 7 };
    let artifact = state::keep(&rig.store, &with, mark.clone()).await.unwrap();
    let ids = [with.deployment.id, without.deployment.id, DeploymentId::new(&RandomMint)];
    let mut tx = rig.store.read().await.unwrap();
    let mut found = tx.deployments_to_begin(&ids).await.unwrap();
    found.sort_by_key(|one| one.record.deployment.id != ids[0]);
    assert_eq!(found.len(), 2, "the third is not there");
    for one in &found {
        assert_eq!(one.variables["password"], "hunter2");
    }
    assert_eq!(found[0].record, with);
    let kept = found[0].state.clone().unwrap();
    assert_eq!((kept.mark(), kept.artifact, kept.info.resource_count), (mark, artifact, 7));
    assert_eq!((&found[1].record, found[1].state.is_none()), (&without, true));
}
