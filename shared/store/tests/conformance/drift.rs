//! What is known of stacks' drift, when they are looked at next, and plans that are out of date.

use slipway_domain::access::Reach;
use slipway_domain::deployment::Stale;
use slipway_domain::drift::{DriftFailure, DriftFound, DriftReport, DriftSettings, DriftStatus};
use slipway_domain::plan::Tool;
use slipway_store::drift::{Filter as DriftFilter, Next, Record as DriftRecord};

use super::*;

on_both_engines! {
    a_row_comes_back_as_it_was_put_in,
    stacks_are_planned_found_due_and_hastened,
    a_job_that_has_ended_is_no_check,
    settings_are_changed_from_the_version_that_was_read,
    lists_show_what_is_asked_for,
    a_stack_is_busy_while_an_apply_runs_or_waits,
    checks_are_not_what_a_deployment_waits_for,
    a_plan_is_out_of_date_once,
}

fn report(lineage: &str) -> DriftReport {
    let found = DriftFound {
        tool: Tool { name: "terraform".into(), version: "1.11.4".into() },
        resources: vec![],
        outputs: vec![],
        warnings: vec![],
        state: StateMark { lineage: lineage.into(), serial: 3 },
        caveats: vec!["it said \u{1F600} and \0".into()],
    };
    DriftReport::of(found, now())
}

/// A stack that runs something.
async fn running(store: &Store, name: &str) -> Record {
    let record = deployment(store, name).await;
    let mut tx = store.begin().await.unwrap();
    let d = &record.deployment;
    tx.set_current_deployment(d.stack_id, d.id, now()).await.unwrap();
    tx.commit().await.unwrap();
    record
}

async fn save(store: &Store, row: &DriftRecord, job: Option<JobId>, next: Next) {
    let mut tx = store.begin().await.unwrap();
    tx.lock_drift(row.stack_id).await.unwrap();
    tx.save_drift(row, job, next).await.unwrap();
    tx.commit().await.unwrap();
}

fn drifted(of: &Record) -> DriftRecord {
    DriftRecord {
        status: DriftStatus::Drifted,
        since: Some(now()),
        checked_at: Some(now()),
        deployment_id: Some(of.deployment.id),
        fingerprint: Some("sha256:00".into()),
        report: Some(report("line")),
        ..DriftRecord::new(of.deployment.stack_id)
    }
}

async fn a_row_comes_back_as_it_was_put_in(rig: Rig) {
    let record = running(&rig.store, "net").await;
    let of = record.deployment.stack_id;
    assert_eq!(rig.store.read().await.unwrap().drift(of).await.unwrap(), None);
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.lock_drift(of).await.unwrap(), DriftRecord::new(of));
    tx.commit().await.unwrap();
    let job = job(&rig.store, &record, JobKind::Drift, 0).await;
    let failure = DriftFailure::new(now(), "it is \0 away".into(), vec![]);
    let put = DriftRecord {
        checks: 7,
        job_id: Some(job),
        failure: Some(failure),
        put_off: Some("later".into()),
        ..drifted(&record)
    };
    save(&rig.store, &put, Some(job), Next::Kept).await;
    let got = rig.store.read().await.unwrap().drift(of).await.unwrap().unwrap();
    assert_eq!(got, put);
}

async fn stacks_are_planned_found_due_and_hastened(rig: Rig) {
    let record = running(&rig.store, "net").await;
    let of = record.deployment.stack_id;
    deployment(&rig.store, "empty").await;
    let unplanned =
        async |enabled| rig.store.read().await.unwrap().drift_unplanned(enabled, 10).await.unwrap();
    let due = async || rig.store.read().await.unwrap().drift_due(10).await.unwrap();
    assert_eq!(unplanned(true).await, [of], "what runs nothing is not looked at");
    assert_eq!(unplanned(false).await, []);
    let next = async |next| {
        let mut tx = rig.store.begin().await.unwrap();
        tx.lock_drift(of).await.unwrap();
        tx.set_next_drift_check(of, next).await.unwrap();
        tx.commit().await.unwrap();
    };
    next(Next::In(3_600_000)).await;
    assert_eq!((unplanned(true).await, due().await), (vec![], vec![]));
    let at = rig.store.read().await.unwrap().drift(of).await.unwrap().unwrap().next_check_at;
    let wait = at.unwrap() - Utc::now();
    assert!(wait.num_minutes() >= 58 && wait.num_minutes() <= 61, "{wait}");
    next(Next::Kept).await;
    assert_eq!(due().await, []);
    next(Next::In(0)).await;
    assert_eq!(due().await, [of]);
    assert!(rig.store.read().await.unwrap().is_drift_due(of).await.unwrap());
    next(Next::Never).await;
    assert_eq!((due().await, unplanned(true).await), (vec![], vec![of]));
    // Known to drift, and deployed since.
    save(&rig.store, &drifted(&record), None, Next::In(3_600_000)).await;
    let hastened = async || {
        let mut tx = rig.store.begin().await.unwrap();
        let n = tx.hasten_drift_checks(30_000).await.unwrap();
        tx.commit().await.unwrap();
        n
    };
    assert_eq!(hastened().await, 0);
    running(&rig.store, "net").await;
    assert_eq!((hastened().await, due().await), (1, vec![of]));
    assert_eq!(hastened().await, 0);
}

async fn a_job_that_has_ended_is_no_check(rig: Rig) {
    let record = running(&rig.store, "net").await;
    let of = record.deployment.stack_id;
    let job = job(&rig.store, &record, JobKind::Drift, 0).await;
    save(&rig.store, &DriftRecord::new(of), Some(job), Next::Kept).await;
    let shown = async || rig.store.read().await.unwrap().drift(of).await.unwrap().unwrap().job_id;
    assert_eq!(shown().await, Some(job));
    claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
    assert_eq!(shown().await, Some(job));
    let mut tx = rig.store.begin().await.unwrap();
    tx.end_job(job, JobState::Cancelled, None, now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(shown().await, None);
}

async fn settings_are_changed_from_the_version_that_was_read(rig: Rig) {
    let record = running(&rig.store, "net").await;
    let of = record.deployment.stack_id;
    let set = async |enabled, interval_s, before| {
        let mut tx = rig.store.begin().await.unwrap();
        tx.lock_drift(of).await.unwrap();
        let settings = DriftSettings { enabled, interval_s };
        let done = tx.set_drift_settings(of, &settings, before).await.unwrap();
        tx.commit().await.unwrap();
        done
    };
    let unplanned =
        async |enabled| rig.store.read().await.unwrap().drift_unplanned(enabled, 10).await.unwrap();
    assert!(set(Some(false), Some(600), 0).await);
    assert!(!set(None, None, 0).await);
    let row = rig.store.read().await.unwrap().drift(of).await.unwrap().unwrap();
    assert_eq!(row.settings, DriftSettings { enabled: Some(false), interval_s: Some(600) });
    assert_eq!((row.settings_version, unplanned(true).await), (1, vec![]));
    assert!(set(Some(true), None, 1).await);
    assert_eq!(unplanned(false).await, [of]);
}

async fn lists_show_what_is_asked_for(rig: Rig) {
    let (net, db) = (running(&rig.store, "net").await, running(&rig.store, "db").await);
    deployment(&rig.store, "empty").await;
    save(&rig.store, &drifted(&net), None, Next::In(1000)).await;
    let list = async |filter: DriftFilter, limit, after| {
        let mut tx = rig.store.read().await.unwrap();
        let page = PageRequest { limit, after };
        let rows = tx.drifts(&filter, &Reach::Everywhere, page).await.unwrap();
        rows.into_iter().map(|row| (row.stack.name, row.status)).collect::<Vec<_>>()
    };
    let with = |status| DriftFilter { status: Some(status), ..DriftFilter::default() };
    let net_row = ("net".to_owned(), DriftStatus::Drifted);
    let db_row = ("db".to_owned(), DriftStatus::Unknown);
    let all = [db_row.clone(), net_row.clone()];
    assert_eq!(list(DriftFilter::default(), 10, None).await, all);
    assert_eq!(list(with(DriftStatus::Drifted), 10, None).await, std::slice::from_ref(&net_row));
    assert_eq!(list(with(DriftStatus::Unknown), 10, None).await, [db_row]);
    assert_eq!(list(with(DriftStatus::InSync), 10, None).await, []);
    let after = Some(db.deployment.stack_id.0);
    assert_eq!(list(DriftFilter::default(), 10, after).await, [net_row]);
    let elsewhere = DriftFilter { environment: Some("prod".into()), ..DriftFilter::default() };
    assert_eq!(list(elsewhere, 10, None).await, []);
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.drifted_stacks().await.unwrap(), 1);
    let (only, page) = (with(DriftStatus::Drifted), PageRequest { limit: 1, after: None });
    let shown = tx.drifts(&only, &Reach::Everywhere, page).await.unwrap().remove(0);
    assert_eq!(shown.summary.as_deref(), Some("everything is as the state says"));
    assert!(shown.since.is_some() && shown.next_check_at.is_some());
    let all = PageRequest { limit: 10, after: None };
    let mut seen_from = async |projects: &[&str]| {
        let reach = Reach::Projects(projects.iter().map(|name| (*name).to_owned()).collect());
        tx.drifts(&DriftFilter::default(), &reach, all).await.unwrap().len()
    };
    let own = shown.stack.project.as_str();
    assert_eq!(seen_from(&[own]).await, 2);
    assert_eq!(seen_from(&["other", own]).await, 2);
    assert_eq!(seen_from(&["other"]).await, 0);
    assert_eq!(seen_from(&[]).await, 0);
}

async fn a_stack_is_busy_while_an_apply_runs_or_waits(rig: Rig) {
    let mut record = deployment(&rig.store, "net").await;
    let (id, of) = (record.deployment.id, record.deployment.stack_id);
    let busy = async || rig.store.read().await.unwrap().busy_with(of).await.unwrap();
    assert_eq!(busy().await, None);
    let mut go = async |to: DeploymentState| {
        let from = record.deployment.state;
        record.deployment.state = to;
        let mut tx = rig.store.begin().await.unwrap();
        tx.update_deployment(&mut record, from, &[]).await.unwrap();
        tx.commit().await.unwrap();
        record.clone()
    };
    let approved = go(DeploymentState::Approved).await;
    assert_eq!(busy().await, None, "it waits for the word");
    job(&rig.store, &approved, JobKind::Apply, 0).await;
    assert_eq!(busy().await, Some((id, DeploymentState::Approved)));
    for state in [DeploymentState::Applying, DeploymentState::NeedsAttention] {
        go(state).await;
        assert_eq!(busy().await, Some((id, state)));
    }
    go(DeploymentState::Succeeded).await;
    assert_eq!(busy().await, None);
}

async fn checks_are_not_what_a_deployment_waits_for(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let of = record.deployment.id;
    job(&rig.store, &record, JobKind::Drift, 0).await;
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.queued_jobs(&[of]).await.unwrap(), []);
    assert_eq!(tx.queue_place(of).await.unwrap(), None);
}

async fn a_plan_is_out_of_date_once(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let (id, stack) = (record.deployment.id, record.deployment.stack_id);
    let found = async || rig.store.read().await.unwrap().out_of_date(10).await.unwrap();
    let none = StateMark::default();
    let mut tx = rig.store.begin().await.unwrap();
    tx.watch_state(id, &none).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(found().await, []);
    let sealed = rig
        .store
        .seal_artifact(ArtifactId::new(&RandomMint), ArtifactKind::State, b"{}", now())
        .await
        .unwrap();
    let mark = StateMark { lineage: "line".into(), serial: 4 };
    let version = NewStateVersion {
        stack_id: stack,
        mark: mark.clone(),
        resource_count: 1,
        artifact: sealed.artifact.id,
        origin: StateOrigin::Run,
        deployment_id: Some(id),
        epoch: Some(1),
        written_by: None,
        restored_from: None,
    };
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_artifact(&sealed).await.unwrap();
    tx.add_state_version(&version, now()).await.unwrap();
    tx.commit().await.unwrap();
    let rows = found().await;
    assert_eq!((rows.len(), &rows[0].then, &rows[0].now), (1, &none, &mark));
    let stale = Stale { since: now(), planned_serial: 0, serial: 4 };
    let mut tx = rig.store.begin().await.unwrap();
    assert!(tx.set_stale(id, &stale).await.unwrap());
    assert!(!tx.set_stale(id, &stale).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(found().await, []);
    let shown = rig.store.read().await.unwrap().deployment(id).await.unwrap().unwrap();
    assert_eq!(shown.deployment.stale, Some(stale));
}
